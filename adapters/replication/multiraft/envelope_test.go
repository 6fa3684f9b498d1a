package multiraft

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// TestEnvelopeGolden holds the format of version 1 fast: entries of old logs must stay readable.
func TestEnvelopeGolden(t *testing.T) {
	const path = "testdata/envelope_v1.hex"
	commands := [][]byte{[]byte("first"), {}, bytes.Repeat([]byte{0xab}, 200)}
	encoded := appendEnvelope(nil, 90*time.Minute+7, commands)
	if *rewrite {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(encoded)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encoded, golden) {
		t.Fatalf("encoded %x, want %x", encoded, golden)
	}
	logTime, got, err := parseEnvelope(golden)
	if err != nil || logTime != 90*time.Minute+7 || !slices.EqualFunc(got, commands, bytes.Equal) {
		t.Fatalf("parsed %v, %q, %v", logTime, got, err)
	}
}

func TestEnvelopeRefusesWhatNobodyWrote(t *testing.T) {
	good := appendEnvelope(nil, 5, [][]byte{[]byte("ab"), []byte("c")})
	f := func(name string, data []byte) {
		t.Helper()
		if _, _, err := parseEnvelope(data); fault.KindOf(err) != fault.Corrupt {
			t.Fatalf("%s: err=%v, want Corrupt", name, err)
		}
	}
	for n := range good {
		if _, _, err := parseEnvelope(good[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes are taken for an entry", n, len(good))
		}
	}
	f("other version", append([]byte{2}, good[1:]...))
	f("more bytes", append(slices.Clone(good), 0))
	f("no commands", []byte{1, 5, 0})
	f("more commands than bytes", []byte{1, 5, 200, 1, 1})
	f("negative time", []byte{1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1, 0})
	f("length past the end", []byte{1, 5, 1, 9, 'a'})
}

func FuzzEnvelope(f *testing.F) {
	f.Add(appendEnvelope(nil, 1, [][]byte{[]byte("a")}))
	f.Add(appendEnvelope(nil, time.Hour, [][]byte{{}, []byte("bc")}))
	f.Add([]byte{1, 5, 200, 1, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		logTime, commands, err := parseEnvelope(data)
		if err != nil {
			return
		}
		again, same, err := parseEnvelope(appendEnvelope(nil, logTime, commands))
		if err != nil || again != logTime || !slices.EqualFunc(same, commands, bytes.Equal) {
			t.Fatalf("%x reads as %v %q, then as %v %q, %v", data, logTime, commands, again, same, err)
		}
	})
}
