package top

import tea "charm.land/bubbletea/v2"

// wheelRows is how far a step of the wheel goes.
const wheelRows = 3

func (m *model) wheel(w tea.MouseWheelMsg) {
	switch w.Button {
	case tea.MouseWheelUp:
		m.step(-wheelRows)
	case tea.MouseWheelDown:
		m.step(wheelRows)
	}
}

// click selects a tab or a row. A click on the row of the cursor is Enter.
func (m *model) click(c tea.MouseClickMsg) tea.Cmd {
	if c.Button != tea.MouseLeft {
		return nil
	}
	if c.Y == m.tabRow() {
		if t, ok := m.tabAt(c.X); ok {
			m.show(t)
			return m.shown()
		}
		return nil
	}
	row := c.Y - m.listTop()
	if m.covered() || row < 0 || row >= m.listRows() {
		return nil
	}
	at := &m.pos[m.tab]
	if row += at.offset; row >= m.count() {
		return nil
	}
	if row == at.cursor {
		return m.enter()
	}
	at.cursor = row
	return nil
}
