// Command svg draws the text of a terminal as an SVG picture. It reads the text
// with its ANSI colours on standard input, as "tmux capture-pane -e" prints it.
//
//	tmux capture-pane -e -p | go run ./.ci/svg 'nodetune top' >top.svg
package main

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The size of a character and of the margin, in pixels, at a font of 13 pixels.
const charWidth, lineHeight, margin = 7.83, 18, 14

// style is what ANSI sequences set.
type style struct {
	bold, dim, reverse bool
	colour             int // index into colours, 0 is the default
}

// colours are those of the sequences 31 to 37, on a dark ground.
var colours = [8]string{"#d4d4d4", "#f47067", "#7ec77b", "#e0b345", "#6cb6ff", "#d2a8ff", "#56c8d8", "#d4d4d4"}

// span is text of one style.
type span struct {
	style
	text string
}

func main() {
	title := "terminal"
	if len(os.Args) > 1 {
		title = os.Args[1]
	}
	lines, err := read(os.Stdin)
	if err == nil {
		_, err = io.WriteString(os.Stdout, draw(title, lines))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "svg:", err)
		os.Exit(1)
	}
}

// read splits the text into lines of spans, without empty lines at its end.
func read(r io.Reader) ([][]span, error) {
	var lines [][]span
	s := bufio.NewScanner(r)
	var st style
	last := 0
	for s.Scan() {
		var line []span
		line, st = split(s.Text(), st)
		lines = append(lines, line)
		if len(line) > 0 {
			last = len(lines)
		}
	}
	return lines[:last], s.Err()
}

// split cuts a line where its style changes. A sequence that is no style is dropped.
func split(line string, st style) ([]span, style) {
	var spans []span
	for line != "" {
		text, rest, found := strings.Cut(line, "\x1b[")
		if text != "" {
			spans = append(spans, span{st, text})
		}
		if !found {
			break
		}
		end := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
		if end < 0 {
			break
		}
		if rest[end] == 'm' {
			st = st.set(rest[:end])
		}
		line = rest[end+1:]
	}
	return spans, st
}

// set applies the numbers of one sequence.
func (s style) set(codes string) style {
	for _, code := range strings.Split(codes, ";") {
		n, _ := strconv.Atoi(code) // an empty one is 0
		switch {
		case n == 0:
			s = style{}
		case n == 1:
			s.bold = true
		case n == 2:
			s.dim = true
		case n == 22:
			s.bold, s.dim = false, false
		case n == 7:
			s.reverse = true
		case n == 27:
			s.reverse = false
		case n >= 31 && n <= 37:
			s.colour = n - 30
		case n >= 91 && n <= 97:
			s.colour = n - 90
		case n == 39:
			s.colour = 0
		}
	}
	return s
}

// draw returns the picture. Each span is placed by its column, so that columns
// stay aligned in any font.
func draw(title string, lines [][]span) string {
	columns := 0
	for _, line := range lines {
		n := 0
		for _, s := range line {
			n += utf8.RuneCountInString(s.text)
		}
		columns = max(columns, n)
	}
	width := int(float64(columns)*charWidth) + 2*margin
	height := len(lines)*lineHeight + 2*margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString(title))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="6" fill="#1e1e1e"/>`+"\n")
	fmt.Fprintf(&b, `<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="13" xml:space="preserve" fill="%s">`+"\n", colours[0])
	for i, line := range lines {
		y, column := margin+(i+1)*lineHeight-5, 0
		for _, s := range line {
			n := utf8.RuneCountInString(s.text)
			x := margin + float64(column)*charWidth
			column += n
			fill := colours[s.colour]
			if s.reverse {
				fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", x, y-13, float64(n)*charWidth, lineHeight, fill)
				fill = "#1e1e1e"
			}
			if strings.TrimSpace(s.text) == "" {
				continue
			}
			fmt.Fprintf(&b, `<text x="%.1f" y="%d" textLength="%.1f" lengthAdjust="spacingAndGlyphs"`, x, y, float64(n)*charWidth)
			if fill != colours[0] {
				fmt.Fprintf(&b, ` fill="%s"`, fill)
			}
			if s.bold {
				b.WriteString(` font-weight="bold"`)
			}
			if s.dim {
				b.WriteString(` opacity="0.6"`)
			}
			fmt.Fprintf(&b, ">%s</text>\n", strings.ReplaceAll(html.EscapeString(s.text), " ", "\u00a0"))
		}
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}
