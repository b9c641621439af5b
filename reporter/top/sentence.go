package top

import (
	"context"

	"github.com/charmbracelet/x/ansi"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
)

// Sentence is the first sentence of the node's page: what is wrong, who causes it, and the
// line to paste.
type Sentence struct {
	Text        string
	Cause, Next string  // empty while nothing is wrong
	Heat        float64 // as of a limit with so many percent in use
}

// ReadSentence returns the sentence of the node, of which u was just seen.
type ReadSentence func(ctx context.Context, u inotify.Usage) Sentence

// sentenceRows is how many lines the sentence itself may take.
const sentenceRows = 2

// sentenceLines stand above the tabs. A small screen has one.
func (m *model) sentenceLines() []string {
	s := m.sentence
	if s.Text == "" {
		return nil
	}
	text := safetext.String(s.Text)
	if m.width < 60 || m.height < 20 {
		return []string{heat(ansi.Truncate(text, m.width, "…"), s.Heat)}
	}
	all := wrap(text, m.width)
	if len(all) > sentenceRows {
		all[sentenceRows-1] = ansi.Truncate(all[sentenceRows-1]+" "+all[sentenceRows], m.width, "…")
		all = all[:sentenceRows]
	}
	for i, line := range all {
		all[i] = heat(line, s.Heat)
	}
	if s.Cause != "" {
		all = append(all, "cause: "+safetext.String(s.Cause))
	}
	if s.Next != "" { // whole: it is to be copied
		next := wrap("next:  "+safetext.String(s.Next), m.width)
		all = append(all, next[:min(len(next), sentenceRows)]...)
	}
	return all
}
