// Package arch checks the rules that keep the layers apart and the repository self-contained.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const modulePath = "github.com/raftmetrics/raftmetrics"

// goPackage is what `go list -json` tells of a package.
type goPackage struct {
	Dir          string
	ImportPath   string
	Name         string
	Standard     bool
	GoFiles      []string
	CgoFiles     []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
}

// rel returns the package's path inside the module, "." for its root.
func (p goPackage) rel() string {
	return relative(p.ImportPath)
}

func relative(importPath string) string {
	if importPath == modulePath {
		return "."
	}
	return strings.TrimPrefix(importPath, modulePath+"/")
}

func inModule(importPath string) bool {
	return importPath == modulePath || strings.HasPrefix(importPath, modulePath+"/")
}

// listPackages asks the go command for every package of the module.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=Dir,ImportPath,Name,Standard,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,Imports", "./...")
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 5 {
		t.Fatalf("go list named %d packages, want the whole module", len(packages))
	}
	return packages
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// isStandard tells the standard library by its first path element, which has no dot.
func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

func under(rel string, folders ...string) bool {
	for _, f := range folders {
		if rel == f || strings.HasPrefix(rel, f+"/") {
			return true
		}
	}
	return false
}

// adapterFamily is the first folder below adapters: siblings inside it may share.
func adapterFamily(rel string) string {
	parts := strings.SplitN(rel, "/", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}

// impureForDomain are packages of the standard library that reach outside: domain has no clock and no I/O.
var impureForDomain = []string{"os", "io/fs", "net", "syscall", "database", "log", "crypto/rand", "math/rand", "context", "sync"}

// forbidden explains why package from may not import to; empty when it may. ok is false when no rule
// covers from.
func forbidden(from, to string) (reason string, ok bool) {
	rel := relative(to)
	inside := inModule(to)
	external := !inside && !isStandard(to)
	if inside && under(rel, "tests") && !under(from, "tests") {
		return "production code stays free of test code", true
	}
	switch {
	case under(from, "domain"):
		switch {
		case external, inside && !under(rel, "domain"):
			return "domain imports only the standard library and domain", true
		case !inside && under(to, impureForDomain...):
			return "domain has no clock, no I/O and no concurrency", true
		}
	case under(from, "ports"):
		if external || inside && !under(rel, "domain", "ports") {
			return "ports import only domain and ports", true
		}
	case under(from, "application"):
		if external || inside && !under(rel, "domain", "ports", "application") {
			return "application imports only domain and ports", true
		}
	case under(from, "adapters"):
		switch {
		case inside && under(rel, "application"):
			return "adapters reach the application through ports/inbound", true
		case inside && under(rel, "bootstrap"):
			return "wiring points inward", true
		case inside && under(rel, "adapters") && adapterFamily(rel) != adapterFamily(from):
			return "an adapter never imports another family", true
		}
	case from == ".":
		if inside && rel != "bootstrap" {
			return "main only calls bootstrap", true
		}
	case under(from, "bootstrap", "tests"):
	default:
		return "", false
	}
	return "", true
}

func TestDependencyRule(t *testing.T) {
	for _, p := range listPackages(t) {
		if _, ok := forbidden(p.rel(), "fmt"); !ok {
			t.Errorf("%s: no dependency rule covers this package; add one or move it", p.rel())
			continue
		}
		for _, imported := range p.Imports {
			if reason, _ := forbidden(p.rel(), imported); reason != "" {
				t.Errorf("%s imports %s: %s", p.rel(), imported, reason)
			}
		}
	}
}

// TestRuleRefuses shows that each rule bites.
func TestRuleRefuses(t *testing.T) {
	m := func(rel string) string { return path.Join(modulePath, rel) }
	for _, c := range []struct {
		from, to string
		refused  bool
	}{
		{"domain/metric", "strings", false},
		{"domain/metric", m("domain/fault"), false},
		{"domain/metric", "os", true},
		{"domain/metric", "github.com/rs/zerolog", true},
		{"domain/metric", m("ports/outbound"), true},
		{"ports/outbound", m("domain/fault"), false},
		{"ports/outbound", m("application/apply"), true},
		{"application/apply", m("application/command"), false},
		{"application/apply", m("adapters/storage/memory"), true},
		{"application/apply", "go.etcd.io/raft/v3", true},
		{"adapters/storage/duckdb", m("adapters/storage/memtable"), false},
		{"adapters/storage/duckdb", m("adapters/replication/raftlog"), true},
		{"adapters/httpapi", m("application/ingest"), true},
		{"adapters/httpapi", m("bootstrap"), true},
		{"adapters/httpapi", m("tests/mocks/inboundmock"), true},
		{"bootstrap", m("application/apply"), false},
		{"bootstrap", m("tests/contract"), true},
		{".", m("bootstrap"), false},
		{".", m("adapters/cli"), true},
	} {
		reason, ok := forbidden(c.from, c.to)
		if !ok || (reason != "") != c.refused {
			t.Errorf("%s imports %s: reason=%q covered=%v, want refused=%v", c.from, c.to, reason, ok, c.refused)
		}
	}
	if _, ok := forbidden("util", "fmt"); ok {
		t.Error("a package without a rule passed")
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range listPackages(t) {
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command " + path.Base(p.ImportPath) + " "
		}
		if !hasPackageComment(t, p, want) {
			t.Errorf("%s: no file opens with a comment that begins %q", p.rel(), want)
		}
	}
}

func hasPackageComment(t *testing.T, p goPackage, want string) bool {
	t.Helper()
	var files []string
	files = append(append(files, p.GoFiles...), p.CgoFiles...)
	files = append(append(files, p.TestGoFiles...), p.XTestGoFiles...)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if f.Doc != nil && strings.HasPrefix(f.Doc.Text(), want) {
			return true
		}
	}
	return false
}

// TestEveryPortHasItsMock keeps the list of the generate directives complete.
func TestEveryPortHasItsMock(t *testing.T) {
	for _, side := range []string{"inbound", "outbound"} {
		mocks := typesOf(t, filepath.Join(root(t), "tests", "mocks", side+"mock"))
		for name, spec := range typesOf(t, filepath.Join(root(t), "ports", side)) {
			if _, ok := spec.Type.(*ast.InterfaceType); ok && mocks["Mock"+name] == nil {
				t.Errorf("ports/%s: interface %s has no mock; add it to generate.go and run make generate", side, name)
			}
		}
	}
}

func typesOf(t *testing.T, dir string) map[string]*ast.TypeSpec {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go files in %s: %v", dir, err)
	}
	types := map[string]*ast.TypeSpec{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			general, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range general.Specs {
				if spec, ok := s.(*ast.TypeSpec); ok {
					types[spec.Name.Name] = spec
				}
			}
		}
	}
	return types
}
