package sysctld

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

const (
	// maxFileBytes and maxLineBytes bound what a file may cost. The sysctl.d
	// files of distributions are below 8 KiB.
	maxFileBytes = 4 << 20
	maxLineBytes = 64 << 10
	// systemdLineBytes is LONG_LINE_MAX: systemd-sysctl stops reading a file at
	// a line this long.
	systemdLineBytes = 1 << 20
)

// lines streams a file in the lines that one loader sees.
type lines struct {
	r      *bufio.Reader
	loader Loader
	number int
	read   int // bytes of the file
	text   []byte
	long   bool // text is cut at maxLineBytes
}

var (
	errLargeFile = errors.New("is larger than 4 MiB")
	errLongLine  = errors.New("has a line of 1 MiB or more, where systemd-sysctl stops reading it")
)

func newLines(r io.Reader, l Loader) *lines {
	return &lines{r: bufio.NewReader(r), loader: l}
}

// next reads one line into text, without its end. It returns io.EOF after the
// last one.
func (l *lines) next() error {
	l.text, l.long = l.text[:0], false
	length := 0
	var end eol
	for {
		c, err := l.r.ReadByte()
		if errors.Is(err, io.EOF) && length > 0 {
			break
		}
		if err != nil {
			return err
		}
		kind := l.loader.eol(c)
		if end&nul != 0 || end != 0 && kind == 0 || end&kind != 0 {
			if err := l.r.UnreadByte(); err != nil {
				return err
			}
			break
		}
		length++
		if l.read++; l.read > maxFileBytes {
			return errLargeFile
		}
		if l.loader == Systemd && length >= systemdLineBytes {
			return errLongLine
		}
		end |= kind
		switch {
		case kind != 0:
		case len(l.text) < maxLineBytes:
			l.text = append(l.text, c)
		default:
			l.long = true
		}
	}
	l.number++
	if i := bytes.IndexByte(l.text, 0); i >= 0 {
		l.text = l.text[:i] // procps: the end of a C string
	}
	return nil
}

type eol uint8

const (
	newline eol = 1 << iota
	carriage
	nul
)

// eol says which end of a line c is. systemd-sysctl (read_line) takes newline,
// carriage return, NUL, and runs in which each occurs once; procps (getline)
// only the newline, which alone ends a run.
func (l Loader) eol(c byte) eol {
	switch {
	case c == '\n' && l == Procps:
		return newline | nul // nothing may follow
	case c == '\n':
		return newline
	case l == Procps:
		return 0
	case c == '\r':
		return carriage
	case c == 0:
		return nul
	}
	return 0
}
