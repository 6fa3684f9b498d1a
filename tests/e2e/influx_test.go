package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftmetrics/raftmetrics/tests/node"
)

// influxClient returns the path of InfluxData's own command line client, which nobody here wrote.
func influxClient(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("influx")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no influx; .ci/run installs it with Debian's package influxdb-client")
		}
		t.Skip("LEFT OUT, for there is no influx; Debian has it in the package influxdb-client")
	}
	return path
}

const (
	importedLines = 12_000 // more than two of the client's batches
	importedDecks = 7
)

// knots is the value of an imported line; later imports give others.
func knots(line, edition int) float64 { return float64((line*37+edition*11)%5000) / 100 }

// writeImport writes a file as "influx -import" reads it.
func writeImport(t *testing.T, path string, edition int) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# DDL\nCREATE DATABASE pirates\n\n# DML\n# CONTEXT-DATABASE: pirates\n# CONTEXT-RETENTION-POLICY: autogen\n\n")
	for i := range importedLines {
		fmt.Fprintf(&b, `black\ pearl,captain=jack\ s\,,deck=d%d knots=%g,crew=%di,afloat=%t,value=%d,song="yo, \"ho\" = %d" %d`+"\n",
			i%importedDecks, knots(i, edition), i, i%2 == 0, -i, i, 1_700_000_000+i)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// influxImport runs the client and returns what it said.
func influxImport(t *testing.T, client string, p *node.Process, path, password string) string {
	t.Helper()
	at, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, client, "-host", at.Hostname(), "-port", at.Port(), "-username", "anybody", "-password", password,
		"-import", "-path="+path, "-precision=s").CombinedOutput()
	if err != nil {
		t.Logf("influx: %v", err) // it tells little by its exit code; the caller reads what it said
	}
	return string(out)
}

// TestInfluxImport loads a file with a client of InfluxDB, and then another edition of it, which replaces.
func TestInfluxImport(t *testing.T) {
	client := influxClient(t)
	p := start(t, t.TempDir())
	c := connect(t, p)
	path := filepath.Join(t.TempDir(), "import.txt")
	writeImport(t, path, 0)
	if said := influxImport(t, client, p, path, "not-the-token"); !strings.Contains(said, "carries no valid token") {
		t.Errorf("with a wrong password influx said:\n%s", said)
	}
	for edition := range 3 {
		writeImport(t, path, edition)
		said := influxImport(t, client, p, path, node.Token)
		for _, want := range []string{"Processed 1 commands", fmt.Sprintf("Processed %d inserts", importedLines), "Failed 0 inserts"} {
			if !strings.Contains(said, want) {
				t.Fatalf("influx did not say %q but:\n%s", want, said)
			}
		}
		checkImport(t, c, edition)
	}
	stop(t, p)
}

func checkImport(t *testing.T, c *node.Client, edition int) {
	t.Helper()
	byDeck := make([]summary, importedDecks)
	var crew, afloat, value summary
	for i := range importedLines {
		byDeck[i%importedDecks].add(knots(i, edition))
		crew.add(float64(i))
		afloat.add(float64(1 - i%2))
		value.add(float64(-i))
	}
	ask := func(metric string, want *summary, query ...string) {
		t.Helper()
		var got struct{ Aggregations node.Aggregations }
		if err := c.Get(t.Context(), "/aggregate", &got, append([]string{"metric", metric, "agg", "sum,count,min,max,avg"}, query...)...); err != nil {
			t.Fatal(err)
		}
		want.check(t, fmt.Sprint(metric, query, " of edition ", edition), got.Aggregations)
	}
	for deck := range byDeck {
		ask("black pearl_knots", &byDeck[deck], "tag.captain", "jack s,", "tag.deck", fmt.Sprint("d", deck))
	}
	ask("black pearl_crew", &crew)
	ask("black pearl_afloat", &afloat)
	ask("black pearl", &value)
	last := importedLines - 1
	if a := do(t, c, 200, "GET", "/metrics/black%20pearl_knots", ""); !strings.Contains(a.Body, fmt.Sprintf(`"value":%g,`, knots(last, edition))) ||
		!strings.Contains(a.Body, time.Unix(int64(1_700_000_000+last), 0).UTC().Format(time.RFC3339)) {
		t.Errorf("the newest sample is %s", a.Body)
	}
	do(t, c, 404, "GET", "/metrics/black%20pearl_song", "")
}
