// Package ego gives the seal keys and the identity of an SGX enclave made with
// EGo (github.com/edgelesssys/ego).
//
// EGo's package enclave talks to the enclave runtime by system calls with
// numbers that Linux does not have. It needs cgo for a header of its own, but no
// SGX SDK and no library: this package compiles, links and runs on plain Linux
// with any C compiler. New then fails with ENOSYS, and so it does in EGo's
// simulation mode (OE_SIMULATION=1), where EGo has no report to give. In a
// program built with CGO_ENABLED=0, New always fails with ENOSYS. ego-go builds
// with cgo.
//
// Outside of a real enclave EGo returns seal keys that are all zero, and no error.
// This package refuses such a key wherever it could come from.
//
// Information about a key is EGo's keyInfo, a KEYREQUEST of the SGX
// instruction EGETKEY. It is kept on the host, so a changed one could ask the
// processor for a key that enclaves of others, or debug enclaves, get as well.
// SealKeyFor therefore takes it only with the very policy and masks with which
// EGo makes it.
//
// # What has been tried
//
// The package is written against version 1.9.0 of EGo and compiles with and without
// cgo. Outside of an enclave its calls of EGo, the refusal of keys that are all
// zero, and the check of key information against the requests that this EGo really makes are
// tested. Nothing of it has run on SGX hardware: that EGETKEY gives the same key for the
// same request, and another one to another enclave, is taken from Intel's manual and EGo's
// documentation.
package ego
