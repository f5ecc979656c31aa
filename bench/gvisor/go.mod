// A module of its own, so that gVisor's VFS and what it needs stay out of Cloister's.
module cloister/bench/gvisor

go 1.26.0

require (
	cloister v0.0.0
	github.com/stretchr/testify v1.12.1
	golang.org/x/sys v0.49.0
	gvisor.dev/gvisor v0.0.0-20260224225140-573d5e7127a8
)

require (
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/exp v0.0.0-20231110203233-9a3e6036ecaa // indirect
	golang.org/x/time v0.12.0 // indirect
	google.golang.org/protobuf v1.36.8 // indirect
)

replace cloister => ../..
