package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeExamples runs the curl commands of README.md's API section in their order.
func TestReadmeExamples(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(content), "\nAUTH=")
	block, _, closed := strings.Cut(rest, "\n```")
	if !found || !closed {
		t.Fatal("README.md has no block of examples that begins with AUTH=")
	}
	c := connect(t, start(t, t.TempDir()))
	commands := regexp.MustCompile(`(?m)^curl `).Split(block, -1)[1:]
	if len(commands) < 10 {
		t.Fatalf("README.md has %d examples, want at least 10", len(commands))
	}
	for _, command := range commands {
		command, _, _ = strings.Cut(command, "\n\n")
		command, _, _ = strings.Cut(command, "\n#")
		method, path, body, status := "GET", "", "", 200
		header := []string{"Content-Type", "application/x-www-form-urlencoded"} // what curl -d sends
		for words := split(command); len(words) > 0; words = words[1:] {
			switch words[0] {
			case "-H":
				name, value, _ := strings.Cut(words[1], ": ")
				if words = words[1:]; name != "$AUTH" {
					header = append(header, name, value)
				}
			case "-d":
				method, body, status = "POST", words[1], 201
				words = words[1:]
			case "--data-binary":
				method, body, status = "POST", words[1], 204
				words = words[1:]
			case "-X":
				method, status = words[1], 204
				words = words[1:]
			default:
				path = strings.TrimPrefix(words[0], "localhost:8080")
			}
		}
		if a := do(t, c, status, method, path, body, header...); (a.Body == "") != (status == 204) {
			t.Errorf("curl %s: an empty answer, or one where there should be none", command)
		}
	}
}

// split cuts a command into words as a shell does, as far as quotes go.
func split(command string) []string {
	var words []string
	for _, m := range regexp.MustCompile(`'([^']*)'|"([^"]*)"|(\S+)`).FindAllStringSubmatch(command, -1) {
		words = append(words, m[1]+m[2]+m[3])
	}
	return words
}
