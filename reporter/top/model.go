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

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter/diagnosis"
)

// Read makes one pass over accounts and processes.
type Read func(context.Context) (inotify.Usage, error)

// ReadDisk makes one pass over filesystems and logs.
type ReadDisk func(context.Context) (disk.Usage, error)

// Why diagnoses a process.
type Why func(ctx context.Context, pid int) (diagnosis.Diagnosis, error)

// Sources are what the view shows. All but Usage may be nil.
type Sources struct {
	Usage    Read
	Sentence ReadSentence // called after Usage
	Disk     ReadDisk     // called while the tab of disks is shown
	Acts     ReadActs     // called while the tab of acts is shown
	Why      Why          // called beside the others
}

// The interval stays within what is of use: a pass over a large node takes
// half a second of a core, and a view older than a minute is no live view.
const (
	MinEvery = 500 * time.Millisecond
	MaxEvery = time.Minute
)

// Run shows the view until the user quits or ctx ends.
func Run(ctx context.Context, sources Sources, every time.Duration, opts ...tea.ProgramOption) error {
	m := newModel(ctx, sources, every)
	_, err := tea.NewProgram(m, append(opts, tea.WithContext(ctx))...).Run()
	if err != nil && ctx.Err() == nil { // ^C and SIGTERM are ways to quit
		return err
	}
	return nil
}

// model is what is seen. It changes in Update only, which one goroutine calls.
type model struct {
	ctx     context.Context
	sources Sources
	every   time.Duration

	usage    *reading // of the last pass that succeeded
	sentence Sentence
	at       time.Time // when it ended
	took     time.Duration
	err      error // of the last pass
	now      time.Time

	reading bool // a pass is under way
	history inotify.History
	passes  int // started so far
	paused  bool
	typing  bool // in the filter
	filter  string
	by      column
	reverse bool

	disk    *disk.Usage // of the last pass that read it
	diskErr error
	acts    acts

	tab  tab
	rows []*inotify.Process // of the tab of processes, filtered and sorted
	list []item             // of another tab
	pos  [tabs]position

	open  pageKind
	page  position
	why   string // the page of a diagnosis
	asked int    // diagnoses so far

	width, height int
}

func newModel(ctx context.Context, sources Sources, every time.Duration) *model {
	return &model{
		ctx: ctx, sources: sources, every: min(max(every, MinEvery), MaxEvery),
		by: byInstances, width: 80, height: 24,
	}
}

// passed is the end of a pass.
type passed struct {
	usage    *reading
	sentence Sentence
	err      error
	at       time.Time
	took     time.Duration
	disk     *disk.Usage
	diskErr  error
	acts     acts
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
	every, withDisk, withActs := m.every, m.tab == disksTab && m.sources.Disk != nil, m.tab == actsTab && m.sources.Acts != nil
	return func() tea.Msg {
		began := time.Now()
		u, err := m.sources.Usage(m.ctx)
		end := passed{err: err, at: time.Now()}
		if err == nil {
			end.usage, end.took = newReading(u, &m.history, end.at, every), end.at.Sub(began)
			if m.sources.Sentence != nil {
				end.sentence = m.sources.Sentence(m.ctx, u)
			}
		}
		if withDisk {
			var d disk.Usage
			if d, end.diskErr = m.sources.Disk(m.ctx); end.diskErr == nil {
				end.disk = &d
			}
		}
		if withActs {
			end.acts.read = true
			end.acts.all, end.acts.err = m.sources.Acts(m.ctx)
		}
		return end
	}
}

func tick() tea.Cmd {
	return tea.Tick(time.Second, func(t time.Time) tea.Msg { return clock(t) })
}

func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.arrange()
		m.page.scroll(0, len(m.pageLines()), m.pageRows())
	case clock:
		m.now = time.Time(msg)
		return m, tick()
	case passed:
		m.reading, m.err, m.now = false, msg.err, msg.at
		if msg.err == nil {
			m.usage, m.sentence, m.at, m.took = msg.usage, msg.sentence, msg.at, msg.took
		}
		if msg.disk != nil || msg.diskErr != nil {
			m.diskErr = msg.diskErr
		}
		if msg.disk != nil {
			m.disk = msg.disk
		}
		if msg.acts.read {
			m.acts = msg.acts
		}
		m.arrange()
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
	case tea.MouseWheelMsg:
		m.wheel(msg)
	case tea.MouseClickMsg:
		return m, m.click(msg)
	case diagnosed:
		if msg.asked == m.asked { // and not an older one, which took longer
			m.why = msg.text
		}
	}
	return m, nil
}

// arrange filters and sorts the rows again, and keeps the cursor on one.
func (m *model) arrange() {
	m.rows, m.list = m.rows[:0], nil
	if m.usage != nil && m.tab == processesTab {
		m.rows = arrange(m.rows, m.usage, m.filter, m.by, m.reverse)
	}
	if m.tab != processesTab {
		m.list = m.items()
	}
	m.pos[m.tab].move(0, m.count(), m.listRows())
}
