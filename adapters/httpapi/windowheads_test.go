package httpapi

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftmetrics/raftmetrics/domain/aggregate"
	"github.com/raftmetrics/raftmetrics/domain/metric"
)

// TestWindowsAsIfEachWereFormatted checks heads that are copied against heads that are not, where groups have
// other windows than those before them, or windows push each other out.
func TestWindowsAsIfEachWereFormatted(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		answer := hourly(t, 0, 0)
		width := metric.Timestamp(answer.Query.Window().Width())
		var want []string
		for g := range rapid.IntRange(0, 6).Draw(r, "groups") {
			name := "h" + strconv.Itoa(g)
			group := aggregate.AnswerGroup{Tags: []metric.Tag{{Key: "host", Value: name}}}
			var windows []string
			for i, n := range rapid.SliceOfNDistinct(rapid.Int64Range(-4, 8), 0, 8, rapid.ID).Draw(r, "windows") {
				w := aggregate.WindowValues{
					Start: metric.Timestamp(n) * width, End: metric.Timestamp(n+1) * width,
					Values: []aggregate.Value{{Function: aggregate.Count, Number: float64(i)}},
				}
				group.Windows = append(group.Windows, w)
				windows = append(windows, fmt.Sprintf(`{"start":"%s","end":"%s","aggregations":{"count":%d}}`, w.Start, w.End, i))
			}
			answer.Groups = append(answer.Groups, group)
			want = append(want, fmt.Sprintf(`{"tags":{"host":"%s"},"windows":[%s]}`, name, strings.Join(windows, ",")))
		}
		got := string(appendAnswer(nil, answer))
		if want := `{"metric":"cpu","window":"1h","groups":[` + strings.Join(want, ",") + "]}"; got != want {
			r.Fatalf("answer:\n%s\nwant:\n%s", got, want)
		}
	})
}

// TestTextAsIfByteByByte checks text that is appended in pieces.
func TestTextAsIfByteByByte(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := string(appendText(nil, text)); got != want {
			t.Errorf("appendText(%q)=%s, want %s", text, got, want)
		}
	}
	f("", `""`)
	f("plain", `"plain"`)
	f("\"a\\", `"\"a\\"`)
	f("a\nb\tc\x7f", `"a\nb\u0009c\u007f"`)
	f("öü\U0001F600", "\"öü\U0001F600\"")
	f("\xffa\xc3", "\"\uFFFDa\uFFFD\"")
	f("a\uFFFDb", "\"a\uFFFDb\"")
	f("ö\"\xffö\n", "\"ö\\\"\uFFFDö\\n\"")
}
