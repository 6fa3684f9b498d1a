package bootstrap

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// unlisted are faults of the kinds that limits have which tell of no fixed limit on a write or question.
var unlisted = map[string]string{
	"overflow":                "a sum that no number can hold",
	"idempotency_key_reused":  "another body under the same key",
	"idempotency_window_full": "what other clients left behind",
	"session_window_full":     "what other nodes left behind",
	"timestamp_expired":       "the retention of the cluster",
	"stale":                   "the freshness that the question names",
	"timeout":                 "administration, which names its own time",
	"too_many_nodes":          "administration",
	"flush_limit":             "administration",
	"disk_full":               "the disk",
	"memtable_full":           "the option MEMTABLE_MEMORY_LIMIT",
	"query_memory":            "the option DUCKDB_MEMORY_LIMIT",
	"snapshots_kept":          "nodes among themselves",
}

// TestEveryLimitIsListed looks through the source for what refuses because something is too large, too many
// or too long: its code is in --help.
func TestEveryLimitIsListed(t *testing.T) {
	listed := map[string]bool{}
	for _, l := range limits() {
		_, code, _ := strings.Cut(l.Over, " ")
		listed[code] = true
	}
	found := 0
	for _, folder := range []string{"domain", "application", "adapters/httpapi", "adapters/storage"} {
		err := filepath.WalkDir(filepath.Join("..", folder), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				code, is := guardCode(n)
				if !is {
					return true
				}
				found++
				if _, excused := unlisted[code]; !excused && !listed[code] {
					t.Errorf("%s: --help does not list the limit whose code is %s", name, code)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 15 {
		t.Errorf("found %d guards, want all of them", found)
	}
}

// guardCode returns the code of a call that makes a fault of a kind that limits have.
func guardCode(n ast.Node) (code string, is bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return "", false
	}
	if made, ok := call.Fun.(*ast.SelectorExpr); !ok || !isFault(made, "New", "Newf", "Wrap") {
		return "", false
	}
	for i, arg := range call.Args[:min(3, len(call.Args))] {
		if kind, ok := arg.(*ast.SelectorExpr); ok && isFault(kind, "TooLarge", "Unprocessable", "Exhausted", "Timeout") {
			if text, ok := call.Args[i+1].(*ast.BasicLit); ok {
				code, err := strconv.Unquote(text.Value)
				return code, err == nil
			}
		}
	}
	return "", false
}

func isFault(s *ast.SelectorExpr, names ...string) bool {
	pkg, ok := s.X.(*ast.Ident)
	return ok && pkg.Name == "fault" && slices.Contains(names, s.Sel.Name)
}
