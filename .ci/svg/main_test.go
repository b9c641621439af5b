package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestDraw(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{"plain", "a  b\n", []string{">a\u00a0\u00a0b</text>"}},
		{"colour", "\x1b[31mfull\x1b[0m free", []string{`fill="#f47067"`, ">full</text>", ">\u00a0free</text>"}},
		{"bold", "\x1b[1;33mwarn\x1b[m", []string{`font-weight="bold"`, `fill="#e0b345"`}},
		{"reverse", "\x1b[7mhead\x1b[27m", []string{`fill="#1e1e1e">head`}},
		{"markup is text", "<b>&\n", []string{"&lt;b&gt;&amp;"}},
		{"another sequence is dropped", "a\x1b[2Kb", []string{">a</text>", ">b</text>"}},
		{"a sequence without an end", "a\x1b[31", []string{">a</text>"}},
		{"a style lasts over lines", "\x1b[32ma\nb", []string{`fill="#7ec77b">b<`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines, err := read(strings.NewReader(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			got := draw("a & b", lines)
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("lacks %q:\n%s", want, got)
				}
			}
			for d := xml.NewDecoder(strings.NewReader(got)); ; {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("not XML: %v\n%s", err, got)
				}
			}
		})
	}
}
