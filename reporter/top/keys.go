package top

import (
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/nodetune/nodetune/internal/safetext"
)

const help = `  i w f g p o    sort by instances, watches, share of NOFILE, growth,
                 pid, pod or unit
  r              the other way round
  /              show only rows with this text: pid, user, comm, namespace, pod,
                 container, unit; Enter keeps it, Esc drops it
  up down PgUp PgDn Home End (k j)   scroll
  space          pause; once more: go on
  + -            shorter, longer interval
  u              what is not known, and why
  ? q            this help; quit

  128            exact: what the kernel itself counts
  ≤128           upper bound: a shared descriptor may be counted twice
  ~128           estimate
  9000@5m        counted 5 minutes ago: reading a large instance stalls its owner
  +/MIN          growth of the instances, watches or FDs, per minute
  EVENTS         that wait to be read in its fullest queue (not known from /proc)
  FDS/NOFILE     open descriptors and the soft RLIMIT_NOFILE of the process
  FULL IN        until the account reaches its limit if it goes on like this

  An instance or a watch too many fails with EMFILE (24) or ENOSPC (28) for the
  whole account, also for its other processes. "nodetune why PID" names the limit.`

// key handles one key.
func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	if k.String() == "ctrl+c" {
		return tea.Quit
	}
	if m.typing {
		m.typeFilter(k)
		return nil
	}
	switch k.String() {
	case "q":
		return tea.Quit
	case "?", "h":
		m.help, m.gaps = !m.help, false
	case "u":
		m.gaps, m.help = !m.gaps, false
	case "esc":
		m.help, m.gaps = false, false
		m.setFilter("")
	case "/":
		m.typing, m.help, m.gaps = true, false, false
	case "space":
		m.paused = !m.paused
		if !m.paused {
			return m.pass()
		}
	case "+":
		m.every = max(m.every/2, MinEvery)
	case "-":
		m.every = min(m.every*2, MaxEvery)
	case "r":
		m.reverse = !m.reverse
		m.arrange()
	case "up", "k":
		m.scroll(-1)
	case "down", "j":
		m.scroll(1)
	case "pgup", "ctrl+b":
		m.scroll(-m.page())
	case "pgdown", "ctrl+f":
		m.scroll(m.page())
	case "home":
		m.scroll(-len(m.rows))
	case "end", "G":
		m.scroll(len(m.rows))
	default:
		for by, c := range columns {
			if k.String() == c.key {
				m.by, m.reverse, m.offset = column(by), false, 0
				m.arrange()
			}
		}
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
	m.filter, m.offset = s, 0
	m.arrange()
}
