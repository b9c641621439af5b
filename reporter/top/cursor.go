package top

// position is where the cursor of a list is, and which row is the first on the
// screen.
type position struct{ cursor, offset int }

// move moves the cursor by n rows of a list of that many, and keeps it on a page.
func (p *position) move(n, rows, page int) {
	p.cursor = max(0, min(p.cursor+n, rows-1))
	p.offset = max(0, min(p.offset, p.cursor, rows-page))
	p.offset = max(p.offset, p.cursor-page+1)
}

// scroll moves what is shown of text that has no cursor.
func (p *position) scroll(n, rows, page int) {
	p.offset = max(0, min(p.offset+n, rows-page))
}

// step moves the cursor, or scrolls the page that covers the list.
func (m *model) step(n int) {
	if m.covered() {
		m.page.scroll(n, len(m.pageLines()), m.pageRows())
		return
	}
	m.pos[m.tab].move(n, m.count(), m.listRows())
}

// count is how many rows the list of the tab has.
func (m *model) count() int {
	if m.tab == processesTab {
		return len(m.rows)
	}
	return len(m.list)
}

// listTop is the line of the screen that has the first row of the list.
func (m *model) listTop() int {
	above := m.tabRow() + 2 // and the header
	if m.tab == processesTab {
		return above + 1 + m.ownerRows()
	}
	return above
}

// listRows is how many rows of the list fit: the last line is the footer.
func (m *model) listRows() int { return max(1, m.height-m.listTop()-1) }

// pageRows is how many lines of a page fit.
func (m *model) pageRows() int { return max(1, m.height-m.tabRow()-2) }
