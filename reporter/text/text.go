package text

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// The colours of a table, as SGR parameters.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

func paint(colour bool, sgr, text string) string {
	if !colour || sgr == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

// cell is one field of a table; paint is its colour, or empty.
type cell struct{ text, paint string }

// writeRows writes rows in columns of equal width.
func writeRows(b *strings.Builder, rows [][]cell, colour bool) {
	var width []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, row := range rows {
		for len(row) > 1 && row[len(row)-1].text == "" {
			row = row[:len(row)-1] // no blanks at the end of a line
		}
		for i, c := range row {
			if i == len(row)-1 {
				fmt.Fprintf(b, "%s\n", paint(colour, c.paint, c.text))
				break
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c.text)+2)
			fmt.Fprintf(b, "%s%s", paint(colour, c.paint, c.text), pad)
		}
	}
}
