package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/nodetune/nodetune/reporter/page"
)

// pageRefresh is after how many seconds a browser asks again. Passes are 10
// seconds to minutes apart.
const pageRefresh = 30

// Page serves the node's page and its data. Both are made from one Status, at
// most once in reportMaxAge, and all clients share them.
type Page struct {
	Status func(now time.Time) page.Status

	mu         sync.Mutex
	html, json []byte
	at         time.Time
}

// HTML serves the page.
func (p *Page) HTML() http.Handler {
	return p.serve("text/html; charset=utf-8", func() []byte { return p.html })
}

// JSON serves its data.
func (p *Page) JSON() http.Handler {
	return p.serve("application/json", func() []byte { return p.json })
}

func (p *Page) serve(contentType string, body func() []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		err := p.update(time.Now())
		b := body()
		p.mu.Unlock()
		if err != nil {
			http.Error(w, "cannot make the page: "+err.Error(), http.StatusInternalServerError)
			return
		}
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", page.ContentSecurityPolicy())
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		_, _ = w.Write(b) // the client is gone
	})
}

// update makes both forms again where they are too old.
func (p *Page) update(now time.Time) error {
	if p.html != nil && now.Sub(p.at) < reportMaxAge && !now.Before(p.at) {
		return nil
	}
	s := p.Status(now)
	var html, data bytes.Buffer
	if err := page.Render(&html, s, page.Options{Refresh: pageRefresh}); err != nil {
		return err
	}
	enc := json.NewEncoder(&data)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return err
	}
	p.html, p.json, p.at = html.Bytes(), data.Bytes(), now
	return nil
}
