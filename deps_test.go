package cloister_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/version"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	module       = "cloister"
	maxGoVersion = "go1.26.1" // the Go version that EGo's toolchain is made from
)

// layers says which packages of this module a package may import. The first
// entry that matches it counts. A pattern ending in "/..." stands for a package
// and all below it.
var layers = []struct {
	pkg   string
	allow []string
}{
	{"vfs", nil},
	{"vfs/vfstest", []string{"vfs"}},
	{"mountopt", nil},
	{"enclave", nil},
	{"enclave/...", []string{"enclave"}},
	{"fs/sefs/internal/store", nil},
	{"fs/sefs/internal/seal", []string{"fs/sefs/internal/store"}},
	{"fs/sefs/internal/format", []string{"fs/sefs/internal/store", "fs/sefs/internal/seal"}},
	{"fs/sefs/internal/volume", []string{"fs/sefs/internal/store", "fs/sefs/internal/seal", "fs/sefs/internal/format"}},
	{"fs/sefs/...", []string{"vfs", "mountopt", "enclave", "fs/sefs/..."}},
	{"fs/unionfs/...", []string{"vfs", "mountopt", "enclave", "fs/unionfs/..."}},
	{"fs/hostfs/...", []string{"vfs", "mountopt", "enclave", "fs/hostfs/..."}},
	{"fs/ramfs/...", []string{"vfs", "mountopt", "enclave", "fs/ramfs/..."}},
	{"syscall", []string{"vfs", "mountopt"}},
	{"libos", []string{"vfs", "mountopt", "enclave", "syscall", "fs/..."}},
	{"internal/fuseserver/...", []string{"vfs", "mountopt", "internal/fuseserver/..."}},
	{"internal/testenv", nil},
	{"internal/kernel", nil},
	{"internal/...", []string{"vfs", "mountopt", "enclave/...", "fs/...", "syscall", "libos", "internal/..."}},
	{"cmd/...", []string{"vfs", "mountopt", "enclave/...", "fs/...", "syscall", "libos", "internal/...", "cmd/..."}},
	{"harness/...", []string{"vfs", "mountopt", "enclave/...", "fs/...", "syscall", "libos", "internal/...", "harness/..."}},
	{"examples/...", []string{"mountopt", "enclave/...", "syscall", "libos", "vfs"}},
	{".", nil},
}

// foreign says who may import which packages of other modules, in any file.
// docs/ARCHITECTURE.md gives the reason for each module.
var foreign = []struct {
	imported string
	by       []string
}{
	{"golang.org/x/sys/unix", []string{"..."}},
	{"gvisor.dev/gvisor/pkg/abi/...", []string{"..."}},
	{"github.com/edgelesssys/ego/...", []string{"enclave/ego"}},
	{"github.com/hanwen/go-fuse/v2/...", []string{"internal/fuseserver/..."}},
	{"github.com/spf13/cobra", []string{"cmd/...", "harness/..."}},
	{"github.com/schollz/progressbar/v3", []string{"cmd/..."}},
	{"golang.org/x/term", []string{"cmd/..."}},
	{"github.com/klauspost/compress/zstd", []string{"internal/treecopy"}},
	{"filippo.io/age", []string{"cmd/..."}},
	{"golang.org/x/sys/cpu", []string{"fs/sefs/internal/seal"}},
}

// testModules may be imported by tests and by the packages that only tests import.
var (
	testModules  = []string{"github.com/stretchr/testify/...", "pgregory.net/rapid"}
	testPackages = []string{"vfs/vfstest", "internal/testenv"}
)

// inEnclave are the packages that run inside an enclave, on a platform without
// cgo, processes, signals and file mappings.
var inEnclave = []string{"vfs", "syscall", "mountopt", "fs/...", "enclave", "enclave/sim", "libos"}

var forbiddenNames = []string{"util", "utils", "common", "helpers", "misc", "types", "errors"}

// A pkg is one package as go list and its files describe it.
type pkg struct {
	ImportPath, Name, Dir string
	GoFiles, TestGoFiles  []string
	XTestGoFiles          []string
	IgnoredGoFiles        []string
	Standard              bool
	Module                *struct{ Path string }

	rel         string              // path below the module, "." for its root
	imports     map[string][]string // import path => files that import it
	testImports map[string][]string
}

func TestImportRules(t *testing.T) {
	for _, p := range modulePackages(t) {
		t.Run(p.rel, func(t *testing.T) {
			require.NotContains(t, forbiddenNames, p.Name, "a package is named for what it holds")
			require.NotContains(t, forbiddenNames, path.Base(p.rel), "a package is named for what it holds")
			for imp, files := range p.imports {
				checkImport(t, p, imp, files, false)
			}
			for imp, files := range p.testImports {
				checkImport(t, p, imp, files, true)
			}
		})
	}
}

func checkImport(t *testing.T, p *pkg, imp string, files []string, test bool) {
	t.Helper()
	rel, ours := relative(imp)
	switch {
	case ours && test:
		// A test may use any package, but commands cannot be imported.
	case ours:
		if !matchAny(testPackages, p.rel) {
			require.False(t, matchAny(testPackages, rel), "%v import %s, which is for tests", files, imp)
		}
		require.True(t, matchAny(allowed(t, p.rel), rel), "%v import %s, against the layers", files, imp)
	case strings.Contains(strings.Split(imp, "/")[0], "."):
		require.True(t, mayImportForeign(p.rel, imp, test), "%v import %s, which is not theirs to import", files, imp)
	default:
		checkStandard(t, p, imp, files, test)
	}
}

func checkStandard(t *testing.T, p *pkg, imp string, files []string, test bool) {
	t.Helper()
	switch {
	case imp == "syscall":
		// SysProcAttr of exec.Cmd is the one thing that has no other type.
		require.False(t, !test && matchAny(inEnclave, p.rel), "%v import the standard syscall package", files)
		for _, f := range files {
			require.Contains(t, append(p.imports["os/exec"], p.testImports["os/exec"]...), f, "%s imports the standard syscall package, but starts no process", f)
		}
	case test, matchAny(testPackages, p.rel):
	case strings.HasPrefix(imp, "crypto/") || imp == "math/rand" || imp == "math/rand/v2":
		require.True(t, matchAny([]string{"fs/sefs/internal/seal", "enclave/..."}, p.rel), "%v import %s", files, imp)
	case imp == "os/exec" || imp == "os/signal" || imp == "plugin" || imp == "C":
		ego := imp == "C" && p.rel == "enclave/ego"
		require.True(t, ego || !matchAny(inEnclave, p.rel), "%v import %s, which an enclave lacks", files, imp)
	}
}

func allowed(t *testing.T, rel string) []string {
	t.Helper()
	for _, l := range layers {
		if match(l.pkg, rel) {
			return l.allow
		}
	}
	require.Fail(t, "no layer", "package %s has no place in the layers", rel)
	return nil
}

func mayImportForeign(rel, imp string, test bool) bool {
	if matchAny(testModules, imp) {
		return test || matchAny(testPackages, rel)
	}
	for _, f := range foreign {
		if match(f.imported, imp) {
			return matchAny(f.by, rel)
		}
	}
	return false
}

// TestEnclaveDeps looks at everything that comes into an enclave with the
// in-enclave packages: what they import and what that imports.
func TestEnclaveDeps(t *testing.T) {
	var roots []string
	for _, p := range modulePackages(t) {
		if matchAny(inEnclave, p.rel) && !matchAny(testPackages, p.rel) {
			roots = append(roots, p.ImportPath)
			require.Empty(t, mappings(t, p), "memory mappings in %s", p.rel)
		}
	}
	require.NotEmpty(t, roots)

	for _, p := range goList(t, append([]string{"-deps"}, roots...)...) {
		require.NotContains(t, []string{"os/exec", "os/signal", "runtime/cgo", "plugin"}, p.ImportPath)
		if p.Standard || p.Module == nil {
			continue
		}
		require.Contains(t, []string{module, "golang.org/x/sys", "gvisor.dev/gvisor"}, p.Module.Path, "package %s", p.ImportPath)
	}

	goTool(t, append([]string{"build"}, roots...)...)
}

// TestBuildsWithoutCgo holds that all of what can be in an enclave, and enclave/ego too, whose cgo part is left out
// then, compiles without a C compiler.
func TestBuildsWithoutCgo(t *testing.T) {
	goTool(t, "build", "./vfs/...", "./syscall/...", "./fs/...", "./mountopt", "./enclave/...", "./libos")
}

// TestGoVersion keeps the language version at or below that of EGo's compiler.
func TestGoVersion(t *testing.T) {
	var m struct{ GoVersion string }
	require.NoError(t, json.Unmarshal(goTool(t, "list", "-m", "-json"), &m))
	require.LessOrEqual(t, version.Compare("go"+m.GoVersion, maxGoVersion), 0, "go line %s", m.GoVersion)
}

// modulePackages lists this module's packages with the imports of all their
// files, whatever the build tags.
func modulePackages(t *testing.T) []*pkg {
	t.Helper()
	packages := goList(t, "-e", "./...")
	for _, p := range packages {
		p.rel, _ = relative(p.ImportPath)
		p.imports, p.testImports = map[string][]string{}, map[string][]string{}
		for _, file := range slices.Concat(p.GoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles) {
			into := p.imports
			if strings.HasSuffix(file, "_test.go") {
				into = p.testImports
			}
			tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.ImportsOnly)
			require.NoError(t, err)
			for _, spec := range tree.Imports {
				imp, err := strconv.Unquote(spec.Path.Value)
				require.NoError(t, err)
				into[imp] = append(into[imp], file)
			}
		}
	}
	return packages
}

// mappings returns the uses of mmap in a package.
func mappings(t *testing.T, p *pkg) (uses []string) {
	t.Helper()
	for _, file := range slices.Concat(p.GoFiles, p.IgnoredGoFiles) {
		tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, 0)
		require.NoError(t, err)
		ast.Inspect(tree, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Mmap", "MmapPtr", "Mremap", "SYS_MMAP"}, s.Sel.Name) {
				uses = append(uses, file+": "+s.Sel.Name)
			}
			return true
		})
	}
	return uses
}

func goList(t *testing.T, args ...string) (packages []*pkg) {
	t.Helper()
	out := goTool(t, append([]string{"list", "-json=ImportPath,Name,Dir,GoFiles,TestGoFiles,XTestGoFiles,IgnoredGoFiles,Standard,Module"}, args...)...)
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		p := new(pkg)
		err := dec.Decode(p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		require.NoError(t, err)
		packages = append(packages, p)
	}
}

// goTool runs the go command as for an enclave, without cgo.
func goTool(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "go %s\n%s", strings.Join(args, " "), &stderr)
	return out
}

// relative returns an import path below this module.
func relative(imp string) (string, bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

func matchAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, p) })
}

// match reports whether p matches pattern: p itself, "p/..." or "...".
func match(pattern, p string) bool {
	dir, tree := strings.CutSuffix(pattern, "...")
	switch {
	case !tree:
		return pattern == p
	case dir == "":
		return true
	}
	return p == strings.TrimSuffix(dir, "/") || strings.HasPrefix(p, dir)
}
