package text

import (
	"fmt"
	"io"

	"github.com/nodetune/nodetune/internal/safetext"
)

// Sentence writes what is wrong, who causes it and the line to paste, above a table. It is
// as hot as a limit with percent in use.
func Sentence(w io.Writer, sentence, cause, next string, percent float64, colour bool) error {
	lines := paint(colour, severityColor(percent), safetext.String(sentence)) + "\n"
	if cause != "" {
		lines += "cause: " + safetext.String(cause) + "\n"
	}
	if next != "" {
		lines += "next:  " + safetext.String(next) + "\n"
	}
	_, err := fmt.Fprintln(w, lines)
	return err
}
