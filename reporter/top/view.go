package top

import (
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/text"
)

// The sixteen colours every terminal has, in the user's own theme. Bubble Tea
// drops them where NO_COLOR is set or the terminal has none.
var (
	header = lipgloss.NewStyle().Reverse(true)
	faint  = lipgloss.NewStyle().Faint(true)
	warm   = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	hot    = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)
)

func (m *model) View() tea.View {
	v := tea.NewView(m.screen())
	v.AltScreen = true
	v.MouseMode = tea.MouseModeCellMotion
	v.WindowTitle = "nodetune top"
	return v
}

// screen is what is seen: height lines at most, none wider than width.
func (m *model) screen() string {
	lines := append([]string{m.title(), m.state()}, m.sentenceLines()...)
	lines = append(lines, m.tabLine())
	switch {
	case m.covered():
		all := m.pageLines()
		first := min(m.page.offset, len(all))
		lines = append(lines, all[first:min(len(all), first+m.pageRows())]...)
	case m.tab == processesTab:
		lines = append(lines, m.owners()...)
		lines = append(lines, m.processes()...)
	default:
		lines = append(lines, m.listLines()...)
	}
	last := m.height - 1
	lines = lines[:min(len(lines), max(last, 0))]
	for len(lines) < last {
		lines = append(lines, "")
	}
	lines = append(lines, m.footer())
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, m.width, "…")
	}
	return strings.Join(lines, "\n")
}

// tabRow is the line of the screen that has the tabs: below title, state and sentence.
func (m *model) tabRow() int { return 2 + len(m.sentenceLines()) }

func (m *model) title() string {
	if m.usage == nil {
		return "nodetune top"
	}
	l := m.usage.Limits
	return "nodetune top " + m.at.Format(time.TimeOnly) + "  " + itoa(int64(m.usage.Walk.Processes)) + " processes  " +
		of(l.OpenFiles, l.FileMax, inotify.Exact) + " open files  " + m.usage.Source + " " + m.took.Round(time.Millisecond).String()
}

// state is what limits the figures on the screen: paused, failed, old or incomplete.
func (m *model) state() string {
	var parts []string
	if m.paused {
		parts = append(parts, warm.Render("paused"))
	}
	if m.usage == nil && m.err == nil {
		parts = append(parts, "reading …")
	}
	if m.err != nil {
		parts = append(parts, hot.Render("the last pass failed: "+safetext.String(m.err.Error())))
	}
	if m.usage != nil {
		if age := m.now.Sub(m.at); age > 3*m.every && age > 5*time.Second {
			parts = append(parts, warm.Render("as of "+text.HumanDuration(age)+" ago"))
		}
		if n := len(m.usage.Unknown); n > 0 {
			parts = append(parts, faint.Render("not known: "+itoa(int64(n))+" (u lists them)"))
		}
		if met := text.LimitFailures(m.usage.Refusals); len(met) > 0 {
			parts = append(parts, hot.Render("refused: "+text.SyscallFailureText(met[0])))
		}
	}
	return strings.Join(parts, "  ")
}

// unknown lists what the last pass could not know, and why.
func (m *model) unknown() []string {
	lines := []string{""}
	if m.usage == nil {
		return lines
	}
	for _, g := range m.usage.Unknown {
		lines = append(lines, strings.Split(ansi.Wordwrap(text.GapText(g), max(m.width-4, 20), ""), "\n")...)
		lines = append(lines, "")
	}
	return lines
}

// owners is the upper part: at most a third of the screen.
func (m *model) owners() []string {
	lines := []string{header.Render(fill("  "+m.ownerLine("UID", "USERNS", "INSTANCES", "%", "WATCHES", m.watchesShare(), "+/MIN", "FULL IN"), m.width))}
	if m.usage == nil {
		return lines
	}
	room := m.ownerRows()
	for i, a := range m.usage.Accounts {
		if i == room-1 && len(m.usage.Accounts) > room {
			return append(lines, faint.Render(itoa(int64(len(m.usage.Accounts)-i))+" more"))
		}
		g := m.usage.owners[a.Owner]
		full := ""
		if g.full > 0 {
			full = text.HumanDuration(g.full)
		}
		line := m.ownerLine(
			strconv.FormatUint(uint64(a.UID), 10), text.UserNS(a.UserNS),
			of(a.Instances, a.InstancesLimit, a.InstancesQuality), percent(a.InstancesLimit, a.Instances),
			of(a.Watches, a.WatchesLimit, a.WatchesQuality), percent(a.WatchesLimit, a.Watches),
			rate(g), full)
		use := max(a.InstancesLimit.Percent(a.Instances), a.WatchesLimit.Percent(a.Watches))
		lines = append(lines, heat(" "+mark(use)+line, use))
	}
	return lines
}

// ownerRows is how many lines the accounts get.
func (m *model) ownerRows() int {
	if m.usage == nil {
		return 0
	}
	return min(len(m.usage.Accounts), max(2, m.height/3-2))
}

// ownerLine is 78 columns wide. A narrower screen shows what decides: how much of
// each limit is used.
func (m *model) ownerLine(owner, userns, instances, ishare, watches, wshare, rate, full string) string {
	if m.width < 80 {
		return right(owner, 7) + " " + right(instances, 11) + " " + right(ishare, 5) + " " + right(wshare, 8)
	}
	return right(owner, 10) + " " + left(userns, 10) + " " + right(instances, 13) + " " + right(ishare, 5) + " " +
		right(watches, 15) + " " + right(wshare, 5) + " " + right(rate, 6) + " " + right(full, 7)
}

// listLines are the header and the rows of a tab other than that of processes.
func (m *model) listLines() []string {
	lines := []string{header.Render(fill("  "+m.listHeader(), m.width))}
	at := m.pos[m.tab]
	for n := at.offset; n < min(len(m.list), at.offset+m.listRows()); n++ {
		lines = append(lines, heat(m.marked(n, m.list[n].line, m.list[n].heat), m.list[n].heat))
	}
	if len(m.list) == 0 && m.filter != "" {
		lines = append(lines, faint.Render("no row has "+strconv.Quote(m.filter)+": Esc shows all"))
	}
	return lines
}

// marked puts the marks of the cursor and of the use before row n: colour alone
// would not be seen by everyone, nor on each terminal.
func (m *model) marked(n int, line string, percent float64) string {
	cursor := " "
	if n == m.pos[m.tab].cursor {
		cursor = ">"
	}
	return cursor + mark(percent) + line
}

// mark is the symbol of a limit that is nearly used up.
func mark(percent float64) string {
	switch {
	case percent >= text.HotPercent:
		return "!"
	case percent >= text.WarmPercent:
		return "+"
	}
	return " "
}

func (m *model) processes() []string {
	lines := []string{header.Render(fill("  "+m.line("PID", "UID", "COMM", "INST", "WATCHES", "EVENTS", "FDS/NOFILE", "+/MIN", "POD OR UNIT"), m.width))}
	at := m.pos[processesTab]
	for n := at.offset; n < min(len(m.rows), at.offset+m.listRows()); n++ {
		p := m.rows[n]
		watches := text.FormatCount(p.Watches, p.WatchesQuality)
		if p.WatchesAgeSeconds > 0 {
			watches += "@" + text.HumanDuration(time.Duration(p.WatchesAgeSeconds)*time.Second)
		}
		line := m.line(itoa(int64(p.PID)), strconv.FormatUint(uint64(p.UID), 10), safetext.String(p.Comm),
			text.FormatCount(p.Instances, p.Quality), watches, itoa(p.QueuedEvents), of(p.FDs, p.NOFILESoft, inotify.Exact), rate(m.usage.holders[p.PID]), belongs(p))
		use := max(p.NOFILESoft.Percent(p.FDs), inotify.Limit(p.QueuedEventsLimit).Percent(p.QueuedEvents))
		lines = append(lines, heat(m.marked(n, line, use), use))
	}
	if m.usage != nil && len(m.rows) == 0 {
		none := "no process that could be read holds an inotify instance or many descriptors"
		if m.filter != "" {
			none = "no process has " + strconv.Quote(m.filter) + ": Esc shows all"
		}
		lines = append(lines, faint.Render(none))
	}
	return lines
}

// line is one row of the processes. The uid gives way below 100 columns, then the
// pod or unit and the growth below 70, and the descriptors below 54. The events
// that wait are shown where they are known, procfs does not show them.
func (m *model) line(pid, uid, comm, instances, watches, events, fds, rate, belongs string) string {
	s := right(pid, 7) + " "
	if m.width >= 100 {
		s += right(uid, 10) + " " + left(comm, 15)
	} else {
		s += left(comm, 12)
	}
	s += " " + right(instances, 5) + " " + right(watches, 10)
	if m.usage != nil && m.usage.HoldersSource == inotify.SourceWalk && m.width >= 100 {
		s += " " + right(events, 7)
	}
	if m.width >= 54 {
		s += " " + right(fds, 13)
	}
	if m.width >= 70 {
		s += " " + right(rate, 6) + " " + belongs
	}
	return s
}

// watchesShare is the header of the share of watches, which stands alone where the
// screen is narrow.
func (m *model) watchesShare() string {
	if m.width < 80 {
		return "WATCHES%"
	}
	return "%"
}

func (m *model) footer() string {
	if m.typing {
		return "/" + m.filter + "█  Enter: keep  Esc: show all"
	}
	if m.covered() {
		s := "Esc back  q quit"
		if n := len(m.pageLines()); n > m.pageRows() {
			s += faint.Render("  " + itoa(int64(min(m.page.offset+m.pageRows(), n))) + " of " + itoa(int64(n)) + " lines, down and up scroll")
		}
		return s
	}
	s := itoa(int64(m.count())) + " rows"
	if m.tab == processesTab {
		s = "by " + columns[m.by].name
		if m.reverse {
			s += ", reversed"
		}
		s += "  " + itoa(int64(m.count())) + " rows"
	}
	if m.filter != "" {
		s += "  with " + strconv.Quote(m.filter)
	}
	keys := "  ? help  q quit"
	if m.width >= 60 {
		s += "  every " + m.every.String()
		keys += "  Enter why  Tab next  / filter"
	}
	return s + faint.Render(keys)
}

func heat(line string, percent float64) string {
	switch {
	case percent >= text.HotPercent:
		return hot.Render(line)
	case percent >= text.WarmPercent:
		return warm.Render(line)
	}
	return line
}

// of renders used/limit. Beyond 100 million the digits do not matter: the
// kernel's own INT_MAX is 2e+09, systemd's fs.file-max 9e+18.
func of(used int64, limit inotify.Limit, q inotify.Quality) string {
	s := text.FormatCount(used, q) + "/"
	switch {
	case limit < 0:
		return s + "?"
	case limit < 100_000_000:
		return s + itoa(int64(limit))
	}
	return s + strconv.FormatFloat(float64(limit), 'e', 0, 64)
}

// percent rounds down: 100% means that the limit is reached.
func percent(limit inotify.Limit, used int64) string {
	switch p := limit.Percent(used); {
	case limit < 0:
		return ""
	case p > 999:
		return ">999%"
	default:
		return itoa(int64(p)) + "%"
	}
}

// rate is empty where nothing grows: a row that is quiet looks quiet.
func rate(g growth) string {
	switch most := g.most(); {
	case most < 0.05:
		return ""
	case most < 10:
		return strconv.FormatFloat(most, 'f', 1, 64)
	case most < 1e6:
		return strconv.FormatFloat(most, 'f', 0, 64)
	default:
		return strconv.FormatFloat(most, 'e', 0, 64)
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// left and right bring s to n columns.
func left(s string, n int) string {
	s = ansi.Truncate(s, n, "…")
	return s + strings.Repeat(" ", n-ansi.StringWidth(s))
}

func right(s string, n int) string {
	s = ansi.Truncate(s, n, "…")
	return strings.Repeat(" ", n-ansi.StringWidth(s)) + s
}

func fill(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-ansi.StringWidth(s)))
}
