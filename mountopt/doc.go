// Package mountopt reads and prints what a mount is asked with: the option
// text of mount(2), keys, flag words, and the mounts of the start-up
// configuration.
//
// Option text is a list of items separated by commas:
//
//	lowerdir=/image,upperdir=/data,key=c7-32-b3-ed-44-df-ec-7b-25-2d-9a-32-38-8d-58-61
//
// An item is name=value, or a bare name for an option that takes no value.
// Inside a value a backslash takes the special meaning from a comma, a colon
// and a backslash (\, \: \\), as overlayfs has it; no other escape exists.
// Empty items (stray commas) are skipped. Nothing is trimmed: a blank before a
// name belongs to the name, which makes it unknown.
//
// Parsing is strict where Linux lets the last word win, because two answers to
// "which layer?" or "which key?" must not depend on who reads them. Unknown and
// repeated options, empty values, a missing or an unwanted "=" and unknown
// escapes are EINVAL, and the error names the option, and for an unknown one that which
// was probably meant. Errors never hold a value.
//
// A driver declares a Spec, once, and parses with it:
//
//	var spec = append(mountopt.Spec{
//		mountopt.List("lowerdir", ':').Required(),
//		mountopt.String("upperdir").Required(),
//	}, mountopt.KeyOptions()...)
package mountopt
