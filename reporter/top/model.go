// Package top is the live view of `nodetune top`: the accounts that the kernel charges
// above, their holders below.
//
// It draws what its reader returns and reads nothing itself. Print a
// [reporter.Document] for everything that is not a terminal.
package top

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/nodetune/nodetune/inotify"
)

// Read makes one pass.
type Read func(context.Context) (inotify.Usage, error)

// The interval stays within what is of use: a pass over a large node takes
// half a second of a core, and a view older than a minute is no live view.
const (
	MinEvery = 500 * time.Millisecond
	MaxEvery = time.Minute
)

// Run shows the view until the user quits or ctx ends.
func Run(ctx context.Context, read Read, every time.Duration, opts ...tea.ProgramOption) error {
	m := newModel(ctx, read, every)
	_, err := tea.NewProgram(m, append(opts, tea.WithContext(ctx))...).Run()
	if err != nil && ctx.Err() == nil { // ^C and SIGTERM are ways to quit
		return err
	}
	return nil
}

// model is what is seen. It changes in Update only, which one goroutine calls.
type model struct {
	ctx   context.Context
	read  Read
	every time.Duration

	usage *reading  // of the last pass that succeeded
	at    time.Time // when it ended
	took  time.Duration
	err   error // of the last pass
	now   time.Time

	reading bool // a pass is under way
	history inotify.History
	passes  int // started so far
	paused  bool
	help    bool
	gaps    bool // what is not known is shown
	typing  bool // in the filter
	filter  string
	by      column
	reverse bool

	rows   []*inotify.Process // filtered and sorted
	offset int                // of the first row on the screen

	width, height int
}

func newModel(ctx context.Context, read Read, every time.Duration) *model {
	return &model{
		ctx: ctx, read: read, every: min(max(every, MinEvery), MaxEvery),
		by: byInstances, width: 80, height: 24,
	}
}

// passed is the end of a pass.
type passed struct {
	usage *reading
	err   error
	at    time.Time
	took  time.Duration
}

// due: it is time for the pass after this one, unless the view is
// paused or another has been started since.
type due int

// clock redraws the age of what is seen.
type clock time.Time

func (m *model) Init() tea.Cmd { return tea.Batch(m.pass(), tick()) }

// pass starts a pass in the background: the view answers keys meanwhile. There
// is never more than one, so that the history needs no lock.
func (m *model) pass() tea.Cmd {
	if m.reading {
		return nil
	}
	m.reading = true
	m.passes++
	every := m.every
	return func() tea.Msg {
		began := time.Now()
		u, err := m.read(m.ctx)
		at := time.Now()
		if err != nil {
			return passed{err: err, at: at}
		}
		return passed{usage: newReading(u, &m.history, at, every), at: at, took: at.Sub(began)}
	}
}

func tick() tea.Cmd {
	return tea.Tick(time.Second, func(t time.Time) tea.Msg { return clock(t) })
}

func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.scroll(0)
	case clock:
		m.now = time.Time(msg)
		return m, tick()
	case passed:
		m.reading, m.err, m.now = false, msg.err, msg.at
		if msg.err == nil {
			m.usage, m.at, m.took = msg.usage, msg.at, msg.took
			m.arrange()
		}
		after := due(m.passes)
		return m, tea.Tick(m.every, func(time.Time) tea.Msg { return after })
	case due:
		if !m.paused && int(msg) == m.passes {
			return m, m.pass()
		}
	case tea.PasteMsg:
		if m.typing {
			m.setFilter(m.filter + msg.Content)
		}
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	return m, nil
}

// arrange filters and sorts the rows again.
func (m *model) arrange() {
	m.rows = m.rows[:0]
	if m.usage != nil {
		m.rows = arrange(m.rows, m.usage, m.filter, m.by, m.reverse)
	}
	m.scroll(0)
}

// scroll moves the rows by n and keeps them on the screen.
func (m *model) scroll(n int) {
	m.offset = max(0, min(m.offset+n, len(m.rows)-m.page()))
}
