package top

import (
	"context"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/nodetune/nodetune/internal/safetext"
)

// pageKind is a page that covers the list.
type pageKind int

const (
	noPage pageKind = iota
	helpPage
	gapsPage
	whyPage
)

func (m *model) covered() bool { return m.open != noPage }

func (m *model) closePages() { m.open, m.page = noPage, position{} }

// toggle opens a page, or closes it.
func (m *model) toggle(p pageKind) {
	if m.open == p {
		p = noPage
	}
	m.open, m.page = p, position{}
}

// pageLines are all lines of the page that is open.
func (m *model) pageLines() []string {
	switch m.open {
	case helpPage:
		return wrap(help, m.width)
	case gapsPage:
		return m.unknown()
	case whyPage:
		return wrap(m.why, m.width)
	}
	return nil
}

// wrap breaks lines at spaces, and words that are longer than a line.
func wrap(s string, width int) []string {
	return strings.Split(ansi.Wrap(s, max(width, 1), " "), "\n")
}

// diagnosed is the end of a diagnosis.
type diagnosed struct {
	asked int
	text  string
}

// diagnose asks why for a process, in the background.
func (m *model) diagnose(pid int) tea.Cmd {
	m.asked++
	m.open, m.page = whyPage, position{}
	if m.sources.Why == nil || pid == 0 {
		m.why = "The process that holds most is not known. sudo nodetune why PID diagnoses a process."
		return nil
	}
	m.why = "nodetune why " + itoa(int64(pid)) + " …"
	asked, why, ctx := m.asked, m.sources.Why, m.ctx
	return func() tea.Msg { return diagnosed{asked, diagnosisText(ctx, why, pid)} }
}

func diagnosisText(ctx context.Context, why Why, pid int) string {
	d, err := why(ctx, pid)
	if err != nil {
		return "nodetune why " + itoa(int64(pid)) + " failed: " + safetext.String(err.Error())
	}
	return diagnosisPage(d)
}
