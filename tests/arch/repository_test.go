package arch

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// foreign are patterns for what must not be in a tracked file: it ties the repository to a machine or
// to a place that serves packages.
var foreign = []struct {
	pattern *regexp.Regexp
	reason  string
}{
	{
		regexp.MustCompile(`(?i)\b(proxy|sum|registry|index|pypi|deb|security|mirror)\.[a-z0-9-]+(\.[a-z0-9-]+)*\.(org|com|io|net)\b`),
		"names a host that serves packages",
	},
	{
		regexp.MustCompile(`(^|[\s"'=(:` + "`" + `])/(work|tmp|root|home|Users)/[\w.-]`),
		"names a path of one machine",
	},
}

func TestRepositoryIsSelfContained(t *testing.T) {
	for _, name := range trackedFiles(t) {
		if filepath.Base(name) == "go.sum" || strings.HasPrefix(filepath.ToSlash(name), "tests/arch/") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			if os.IsNotExist(err) { // deleted, not yet committed
				continue
			}
			t.Fatal(err)
		}
		if bytes.IndexByte(content, 0) >= 0 { // not text
			continue
		}
		for i, line := range strings.Split(string(content), "\n") {
			if reason := foreignTo(line); reason != "" {
				t.Errorf("%s:%d %s: %s", name, i+1, reason, strings.TrimSpace(line))
			}
		}
	}
}

func foreignTo(line string) string {
	for _, f := range foreign {
		if f.pattern.MatchString(line) {
			return f.reason
		}
	}
	return ""
}

func TestForeignPatternsBite(t *testing.T) {
	for line, want := range map[string]bool{
		"see https://registry.example.org/x":         true,
		`GOPROXY=https://proxy.example.com`:          true,
		`path := "/home/me/data"`:                    true,
		"cd /work/x":                                 true,
		"import github.com/raftmetrics/raftmetrics":  false,
		"the home page is http://localhost:8080/ui/": false,
		"ratio of work/time":                         false,
	} {
		if got := foreignTo(line) != ""; got != want {
			t.Errorf("foreignTo(%q)=%v, want %v", line, got, want)
		}
	}
}

// trackedFiles lists what git tracks, or every file when this is not a checkout.
func trackedFiles(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z")
	cmd.Dir = root(t)
	if out, err := cmd.Output(); err == nil {
		return strings.Split(strings.Trim(string(out), "\x00"), "\x00")
	}
	var files []string
	err := filepath.WalkDir(root(t), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "data" || d.Name() == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root(t), name)
		files = append(files, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
