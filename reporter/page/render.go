package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
)

// MaxBytes bounds the HTML, whatever a node holds.
const MaxBytes = 60_000

//go:embed page.css
var stylesheet string

//go:embed page.html
var source string

// page is parsed when it is first shown: that takes a tenth of the start of a command.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(words).Parse(strings.Replace(source, "STYLESHEET", stylesheet, 1)))
})

// ContentSecurityPolicy is the header that a browser needs: the page has one
// stylesheet, and nothing else that a browser would load or run.
func ContentSecurityPolicy() string {
	sum := sha256.Sum256([]byte(stylesheet))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
}

// Options say how a page is shown.
type Options struct {
	// Refresh is after how many seconds a browser loads it again; 0: the page is
	// saved, has no links and stays as it is.
	Refresh int
}

// view is what the template sees.
type view struct {
	Status
	Options
}

// Live reports whether an agent answers the links.
func (v view) Live() bool { return v.Refresh > 0 }

// Others is how many troubles there are beside the first one.
func (v view) Others() string {
	if n := len(v.Troubles.Rows) + v.Troubles.More - 1; n > 1 {
		return fmt.Sprintf("%d more", n)
	}
	return "1 more"
}

// sizes are how much of a Status is shown. The first size whose page is small
// enough is taken: the acts give way first.
var sizes = []size{{200, 20, 300}, {200, 12, 160}, {100, 12, 160}, {50, 10, 140}, {25, 8, 120}, {12, 5, 100}, {5, 3, 60}}

// Render writes s as HTML, with MaxBytes at most.
func Render(w io.Writer, s Status, o Options) error {
	for _, z := range sizes {
		var b bytes.Buffer
		if err := page().Execute(&b, view{z.of(s), o}); err != nil {
			return fmt.Errorf("render the page: %w", err)
		}
		if b.Len() <= MaxBytes {
			_, err := w.Write(b.Bytes())
			return err
		}
	}
	return fmt.Errorf("render the page: it has more than %d bytes", MaxBytes)
}
