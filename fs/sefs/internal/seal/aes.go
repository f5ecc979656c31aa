package seal

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// FastAES reports whether the processor shows the instructions with which
// AES-GCM is fast. Without them everything is about thirty times slower, and the time
// that encryption takes may tell something about the key.
func FastAES() bool {
	switch runtime.GOARCH {
	case "amd64":
		return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ
	case "arm64":
		return cpu.ARM64.HasAES && cpu.ARM64.HasPMULL
	}
	return false
}
