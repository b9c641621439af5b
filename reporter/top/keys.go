package top

import (
	"cmp"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/nodetune/nodetune/internal/safetext"
)

// key handles one key. The keys are those of htop, btop and k9s where these agree.
func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	if k.String() == "ctrl+c" {
		return tea.Quit
	}
	if m.typing {
		m.typeFilter(k)
		return nil
	}
	switch k.String() {
	case "q", "f10":
		return tea.Quit
	case "?", "h", "f1":
		m.toggle(helpPage)
	case "u":
		m.toggle(gapsPage)
	case "esc":
		m.back()
	case "/", "f3", "f4":
		m.closePages()
		m.typing = true
	case "enter":
		if m.covered() {
			m.closePages()
			return nil
		}
		return m.enter()
	case "tab", "right":
		m.show(m.tab + 1)
		return m.shown()
	case "shift+tab", "left":
		m.show(m.tab - 1)
		return m.shown()
	case "1", "2", "3", "4", "5":
		m.show(tab(k.String()[0] - '1'))
		return m.shown()
	case "f5":
		return m.pass()
	case "space":
		m.paused = !m.paused
		if !m.paused {
			return m.pass()
		}
	case "+":
		m.every = max(m.every/2, MinEvery)
	case "-":
		m.every = min(m.every*2, MaxEvery)
	default:
		if !m.move(k.String()) {
			m.sort(k.String())
		}
	}
	return nil
}

// move moves the cursor, and reports whether key does.
func (m *model) move(key string) bool {
	rows, page := m.count(), m.listRows()
	if m.covered() {
		rows, page = len(m.pageLines()), m.pageRows()
	}
	switch key {
	case "up", "k":
		m.step(-1)
	case "down", "j":
		m.step(1)
	case "pgup", "ctrl+b":
		m.step(-page)
	case "pgdown", "ctrl+f":
		m.step(page)
	case "home":
		m.step(-rows)
	case "end", "G":
		m.step(rows)
	default:
		return false
	}
	return true
}

// sort changes the order of the processes.
func (m *model) sort(key string) {
	switch key {
	case "r":
		m.reverse = !m.reverse
	case "s", "f6":
		m.by, m.reverse = (m.by+1)%column(len(columns)), false
	default:
		by := m.by
		for i, c := range columns {
			if key == c.key {
				by = column(i)
			}
		}
		if key != columns[by].key {
			return
		}
		m.by, m.reverse = by, false
	}
	m.pos[processesTab] = position{}
	m.arrange()
}

// back closes the page, or else drops the filter.
func (m *model) back() {
	if m.covered() {
		m.closePages()
		return
	}
	m.setFilter("")
}

// enter shows what is behind the row of the cursor.
func (m *model) enter() tea.Cmd {
	n := m.pos[m.tab].cursor
	if n >= m.count() {
		return nil
	}
	if m.tab == processesTab {
		return m.diagnose(m.rows[n].PID)
	}
	switch i := m.list[n]; {
	case m.tab == podsTab && i.find != "":
		m.tab = processesTab
		m.setFilter(i.find)
	case m.tab == accountsTab:
		return m.diagnose(i.pid)
	case m.tab == disksTab:
		m.why, m.open, m.page = i.line, whyPage, position{} // the whole line
	case m.tab == actsTab:
		m.why, m.open, m.page = cmp.Or(i.page, i.line), whyPage, position{}
	}
	return nil
}

// shown reads the disks or the acts at once when their tab is shown first.
func (m *model) shown() tea.Cmd {
	if (m.tab == disksTab && m.disk == nil || m.tab == actsTab && !m.acts.read) && !m.paused {
		return m.pass()
	}
	return nil
}

func (m *model) typeFilter(k tea.KeyPressMsg) {
	switch k.String() {
	case "enter":
		m.typing = false
	case "esc":
		m.typing = false
		m.setFilter("")
	case "backspace":
		_, n := utf8.DecodeLastRuneInString(m.filter)
		m.setFilter(m.filter[:len(m.filter)-n])
	case "ctrl+u":
		m.setFilter("")
	default:
		m.setFilter(m.filter + k.Text)
	}
}

// maxFilter is longer than any name it could find.
const maxFilter = 253

func (m *model) setFilter(s string) {
	s = safetext.String(s)
	if len(s) > maxFilter {
		return
	}
	m.filter, m.pos[m.tab] = s, position{}
	m.arrange()
}
