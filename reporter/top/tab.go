package top

import (
	"strconv"

	"github.com/charmbracelet/x/ansi"
)

// tab is what the lower part of the screen lists.
type tab int

const (
	processesTab tab = iota
	accountsTab
	podsTab
	disksTab
	actsTab
	tabs // how many there are
)

var tabNames = [tabs]string{"processes", "accounts", "pods", "disks and logs", "acts"}

// tabLabels are the labels of the tab line, shorter where the screen is narrow.
func (m *model) tabLabels() (labels [tabs]string) {
	for t, name := range tabNames {
		if m.width < 60 {
			name = ansi.Truncate(name, 4, "")
		}
		labels[t] = " " + strconv.Itoa(t+1) + " " + name + " "
	}
	return labels
}

// tabLine names the tabs. The one that is shown is in brackets: reverse video is
// not seen on each terminal.
func (m *model) tabLine() string {
	line := ""
	for t, label := range m.tabLabels() {
		if tab(t) == m.tab {
			label = header.Render("[" + label[1:len(label)-1] + "]")
		}
		line += label
	}
	return line
}

// tabAt returns the tab whose label is in column x.
func (m *model) tabAt(x int) (tab, bool) {
	for t, label := range m.tabLabels() {
		if x -= len(label); x < 0 {
			return tab(t), true
		}
	}
	return 0, false
}

// show changes to a tab.
func (m *model) show(t tab) {
	m.tab = (t + tabs) % tabs
	m.closePages()
	m.arrange()
}
