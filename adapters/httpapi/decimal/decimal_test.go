package decimal

import (
	"math"
	"regexp"
	"strconv"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// grammar is JSON's for numbers.
var grammar = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?`)

func check(t interface{ Fatalf(string, ...any) }, text string) {
	const before = "x"
	value, end, outcome := Scan([]byte(before+text), len(before))
	number := grammar.FindString(text)
	// A number that goes on as none can is malformed where the grammar sees a shorter one: 01, 1., 1e.
	if rest := text[len(number):]; number == "" || regexp.MustCompile(`^([0-9]|\.|[eE])`).MatchString(rest) {
		if outcome == Malformed {
			return
		}
	}
	if outcome == Malformed {
		t.Fatalf("%q: malformed at %d", text, end)
	}
	want, err := strconv.ParseFloat(number, 64)
	if (err != nil) != (outcome == OutOfRange) || end != len(before)+len(number) {
		t.Fatalf("%q: outcome %d up to %d, want %q, %v", text, outcome, end, number, err)
	}
	if math.Float64bits(value) != math.Float64bits(want) {
		t.Fatalf("%q: %v, want %v", text, value, want)
	}
}

func TestScan(t *testing.T) {
	for _, text := range []string{
		"0", "-0", "1", "12.34", "-99.01", "0.1", "1e22", "1e23", "-1e-22", "1e-23", "9007199254740992", "9007199254740993", "9007199254740993.0",
		"18446744073709551615", "18446744073709551616", "99999999999999999999999", "0.00000000000000000000000000000001", "1e308", "1.8e308", "1e999999999999", "1e-999999999999",
		"", "-", "01", "1.", ".5", "1e", "1e+", "1x", "1.5x", "+1", "NaN", "0x10", "2.2250738585072011e-308", "123456789012345678901234567890.5",
	} {
		check(t, text)
	}
}

func TestScanIsExact(t *testing.T) {
	digits := rapid.StringOfN(rapid.RuneFrom([]rune("0123456789")), 1, 25, -1)
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.SampledFrom([]string{"", "-"}).Draw(rt, "sign") + digits.Draw(rt, "whole")
		if rapid.Bool().Draw(rt, "fraction") {
			text += "." + digits.Draw(rt, "digits")
		}
		if rapid.Bool().Draw(rt, "exponent") {
			text += "e" + strconv.Itoa(rapid.IntRange(-330, 330).Draw(rt, "power"))
		}
		check(rt, text+rapid.SampledFrom([]string{"", ",", " 1", "i", "}"}).Draw(rt, "behind"))
	})
}

func TestWhole(t *testing.T) {
	f := func(t interface{ Fatalf(string, ...any) }, text string) {
		value, end := Whole([]byte("-"+text), 1)
		digits := regexp.MustCompile(`^[0-9]*`).FindString(text)
		if end != 1+len(digits) {
			t.Fatalf("%q: ends at %d, want %d", text, end, 1+len(digits))
		}
		if digits == "" || len(digits) > WholeDigitsMax {
			return
		}
		if want, err := strconv.ParseUint(digits, 10, 64); err != nil || value != want {
			t.Fatalf("%q: %d, want %d, %v", text, value, want, err)
		}
	}
	for _, text := range []string{"", "0", "x", "12345678", "123456789", "1700000000000000000", "9999999999999999999", "00000000000000000000000001", "1234567:", "1234567/", "12345678 2"} {
		f(t, text)
	}
	rapid.Check(t, func(rt *rapid.T) {
		f(rt, rapid.StringOfN(rapid.RuneFrom([]rune("0123456789")), 0, 24, -1).Draw(rt, "digits")+rapid.StringOfN(rapid.RuneFrom([]rune("/:09 é\x00")), 0, 9, -1).Draw(rt, "behind"))
	})
}
