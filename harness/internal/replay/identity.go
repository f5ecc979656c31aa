package replay

import (
	"strconv"

	"cloister/harness/internal/script"
)

// changed returns id as an enclave: line changes it; why says what is wrong
// with the line.
func changed(id Identity, s *script.Enclave) (_ Identity, why string) {
	switch s.Verb {
	case "restart", "kill":
		if s.Arg != "" {
			return id, "enclave: " + s.Verb + " takes no argument"
		}
		return id, ""
	case "signer", "machine":
		if s.Arg == "" || len(s.Arg) > MaxName {
			return id, "enclave: " + s.Verb + " takes a name of at most " + strconv.Itoa(MaxName) + " letters"
		}
		if s.Verb == "signer" {
			id.Signer = s.Arg
		} else {
			id.Machine = s.Arg
		}
		return id, ""
	case "product", "version":
		n, err := strconv.ParseUint(s.Arg, 10, 16)
		if err != nil {
			return id, "enclave: " + s.Verb + " takes a number below 65536"
		}
		if s.Verb == "product" {
			id.Product = uint16(n)
		} else {
			id.Version = uint16(n)
		}
		return id, ""
	}
	return id, "enclave: restart, kill, signer, machine, product or version expected"
}

// MaxName is the longest name of a machine or signer, in bytes.
const MaxName = 32
