package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/reporter"
)

// reportMaxAge is how long an encoded report is used. The passes behind it are 10
// seconds to minutes apart.
const reportMaxAge = 5 * time.Second

// Report serves the document of `check -o json`, of the last passes. All clients
// share one encoding, so that many of them cost no more memory than one.
type Report struct {
	Snapshot func() reporter.Snapshot
	LogPaths func() []string // deleted files elsewhere are left out

	mu      sync.Mutex
	encoded []byte
	at      time.Time
}

// ServeHTTP is of [http.Handler].
func (p *Report) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	body, err := p.document(time.Now())
	if err != nil {
		http.Error(w, "cannot encode the report: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the client is gone
}

func (p *Report) document(now time.Time) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.encoded != nil && now.Sub(p.at) < reportMaxAge {
		return p.encoded, nil
	}
	d := reporter.NewDocument(p.Snapshot())
	if d.Disk != nil {
		usage := *d.Disk // the snapshot's own is shared
		usage.Deleted = deletedBelow(usage.Deleted, p.LogPaths())
		d.Disk = &usage
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		return nil, err
	}
	p.encoded, p.at = b.Bytes(), now
	return p.encoded, nil
}

// deletedBelow leaves out the files that were not below one of dirs: the names of
// a tenant's other files are nothing that concerns its logs.
func deletedBelow(all []logs.Deleted, dirs []string) []logs.Deleted {
	return slices.DeleteFunc(slices.Clone(all), func(d logs.Deleted) bool {
		return !slices.ContainsFunc(dirs, func(dir string) bool {
			return strings.HasPrefix(d.Path, strings.TrimSuffix(dir, "/")+"/")
		})
	})
}
