// Package vfstest is a conformance suite for file systems. It makes the calls that
// processes make and expects what Linux does on tmpfs.
//
// Run tests a driver in this process, through vfs.View:
//
//	func TestConformance(t *testing.T) {
//		vfstest.Run(t, vfstest.Driver{
//			New:   func(t *testing.T) vfs.FileSystem { return ramfs.New(ramfs.Config{}) },
//			Lacks: vfstest.Exchange,
//		})
//	}
//
// What a driver cannot do is declared in Lacks, and tested to fail with the errno that
// is documented there. Every test ends by closing the namespace, which fails if a
// pin has leaked.
//
// RunTasks makes the same calls as system calls, of whoever has them: on the tmpfs and
// the overlayfs of the kernel, which shows that the suite is right; on drivers that are
// mounted through FUSE; on the system calls of the library OS. Where the kernel
// disagrees with a test, the test is wrong.
//
// # Writing a test
//
// A test is a function of a group in the list everywhere. It makes its tree by newSys, with a layout of
// "d/" for a directory, "f" for a file that contains its name and "a => b" for a symlink, and makes calls by the
// methods of sys; sys.as is another user. Calls that need more than a process has, such as settings of the VFS,
// belong to a group in the list inProcess. There newView gives the view as well.
//
// Files of the layout can lie in a lower layer (Driver.NewOver, System.Start), files made later never do.
package vfstest
