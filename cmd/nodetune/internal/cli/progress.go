package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progressAfter is how long a step may take before a terminal shows it: shorter
// ones would only flicker.
const progressAfter = time.Second

// progress shows on a terminal which step takes long.
type progress struct {
	w        io.Writer
	terminal bool

	mu    sync.Mutex
	timer *time.Timer
	shown bool
}

func newProgress(w io.Writer, terminal bool) *progress { return &progress{w: w, terminal: terminal} }

// step ends the step before and begins one called what.
func (p *progress) step(what string) {
	p.stop()
	if !p.terminal {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var mine *time.Timer
	mine = time.AfterFunc(progressAfter, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.timer == mine { // the step has not ended meanwhile
			p.shown = true
			fmt.Fprintf(p.w, "nodetune: %s...", what)
		}
	})
	p.timer = mine
}

// stop removes what is shown.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	if p.shown {
		p.shown = false
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
