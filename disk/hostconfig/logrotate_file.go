package hostconfig

import (
	"strconv"
	"strings"
)

// logrotateFile reads one file character by character, in the states of
// readConfigFile in logrotate's config.c: words that look like directives in a
// comment, a value, a script or a skipped stanza are none.
type logrotateFile struct {
	*logrotateReader

	name string
	dir  string // the working directory
	b    []byte
	i    int
	line int

	global *rotation
	block  *LogrotateStanza // the one that is open
	failed bool             // some of it was not understood
	ended  bool             // logrotate reads no further
}

// cSpace is isspace(3) in the C locale.
const cSpace = " \t\n\v\f\r"

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isSpace(c byte) bool { return strings.IndexByte(cSpace, c) >= 0 }

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// scripts are the directives after which lines are a script, up to endscript.
var scripts = map[string]bool{"prerotate": true, "postrotate": true, "firstaction": true, "lastaction": true, "preremove": true}

// rotation is where directives are written: the open block's, or the global one.
func (f *logrotateFile) rotation() *rotation {
	if f.block != nil {
		return &f.block.rotation
	}
	return f.global
}

func (f *logrotateFile) parse() {
	for f.i < len(f.b) && !f.ended {
		c := f.b[f.i]
		switch {
		case c == '\n':
			f.line++
			f.i++
		case isBlank(c):
			f.i++
		case c == '#':
			f.skipLine()
		case isAlpha(c):
			f.directive()
		case c == '/' || c == '"' || c == '\'' || c == '~':
			f.open()
		case c == '}':
			f.close()
		default:
			f.wrong("a line begins with a directive or a file name")
		}
	}
	if f.block != nil {
		// logrotate takes a block that the end of the file closes.
		f.add()
	}
}

// skipLine goes to the end of the line.
func (f *logrotateFile) skipLine() {
	for f.i < len(f.b) && f.b[f.i] != '\n' {
		f.i++
	}
}

// word returns the letters at the cursor, and puts it behind them.
func (f *logrotateFile) word() string {
	for f.i < len(f.b) && isBlank(f.b[f.i]) {
		f.i++
	}
	from := f.i
	for f.i < len(f.b) && isAlpha(f.b[f.i]) {
		f.i++
	}
	return string(f.b[from:f.i])
}

// rest returns the rest of the line without blanks at its end.
func (f *logrotateFile) rest() string {
	from := f.i
	f.skipLine()
	return strings.TrimRight(string(f.b[from:f.i]), cSpace)
}

// value returns the value of a directive, which may stand behind a '='. It is
// the whole line: a comment behind it belongs to it.
func (f *logrotateFile) value() (string, bool) {
	skip := func() {
		for f.i < len(f.b) && isBlank(f.b[f.i]) {
			f.i++
		}
	}
	if skip(); f.i < len(f.b) && f.b[f.i] == '=' {
		f.i++
		skip()
	}
	if f.i < len(f.b) && f.b[f.i] == '\n' {
		return "", false
	}
	return f.rest(), true
}

// wrong is an error: in a block logrotate skips the block, outside it reads no
// further in this file.
func (f *logrotateFile) wrong(format string, args ...any) {
	f.failed = true
	f.problem(f.name, f.line, format, args...)
	if f.block == nil {
		f.ended = true
		return
	}
	// Where logrotate resumes: it passes over the character with the error and
	// the next one.
	if f.i++; f.i < len(f.b) && f.b[f.i] == '\n' {
		f.line++
	}
	f.i++
	f.skipBlock("a directive in it is wrong")
}

// wrongValue is an error in a value that was read to the end of its line.
func (f *logrotateFile) wrongValue(format string, args ...any) {
	f.i--
	f.wrong(format, args...)
}

// fatal is an error after which logrotate reads no further in this file.
func (f *logrotateFile) fatal(format string, args ...any) {
	f.failed, f.ended = true, true
	f.problem(f.name, f.line, format, args...)
	if f.block != nil {
		f.block.Skipped = "logrotate reads no further in this file"
		f.add()
	}
}

// skipBlock goes behind the '}' that begins a line, where logrotate drops a block
// with an error; '}' behind anything else, blanks too, it does not see. A block
// that is still open at the end of the file it keeps, as far as it has read it.
func (f *logrotateFile) skipBlock(why string) {
	for f.i < len(f.b) {
		switch f.b[f.i] {
		case '}':
			f.i++
			f.block.Skipped = why
			f.add()
			return
		case '\n':
			f.line++
			f.i++
		default:
			if w := f.word(); scripts[w] {
				f.endscript()
			} else {
				f.skipLine()
			}
		}
	}
}

// script goes behind endscript.
func (f *logrotateFile) script() {
	if !f.endscript() {
		f.fatal("a script has no endscript")
	}
}

// endscript goes behind the word endscript, the first one of its line or the one
// behind the directive itself.
func (f *logrotateFile) endscript() bool {
	for f.i < len(f.b) {
		if f.word() == "endscript" {
			return true
		}
		f.skipLine()
		if f.i < len(f.b) {
			f.i++
			f.line++
		}
	}
	return false
}

// add takes the open block into the configuration.
func (f *logrotateFile) add() {
	if len(f.conf.Stanzas) < maxStanzas {
		f.conf.Stanzas = append(f.conf.Stanzas, *f.block)
	} else {
		f.problem(f.name, f.block.Line, "not read: logrotate's configuration has more than %d blocks", maxStanzas)
	}
	f.block = nil
}

// open reads file names up to '{'. Only there may a comment stand between them.
func (f *logrotateFile) open() {
	if f.block != nil {
		f.wrong("a file name inside of a block")
		return
	}
	at, from, comment, begins := f.line, f.i, false, false
	var names strings.Builder
	for ; f.i < len(f.b); f.i++ {
		c := f.b[f.i]
		switch {
		case c == '\n':
			begins, comment = true, false
		case begins && c == '#':
			comment = true
		case begins && !isSpace(c):
			begins = false
		}
		if c == '\n' {
			f.line++
		}
		if comment {
			continue
		}
		if c == '}' {
			f.fatal("'}' without '{'")
			return
		}
		if c == '{' {
			break
		}
		names.WriteByte(c)
	}
	if f.i == len(f.b) {
		f.fatal("file names without '{'")
		return
	}
	f.i++
	patterns, ok := poptWords(names.String())
	if !ok || len(patterns) == 0 {
		f.fatal("file names that cannot be read: %.80q", f.b[from:f.i])
		return
	}
	f.block = &LogrotateStanza{File: f.name, Line: at, rotation: *f.global}
	for _, p := range patterns {
		switch f.patterns++; {
		case len(p) > maxPatternBytes:
			f.failed = true
			f.problem(f.name, at, "a pattern is longer than %d bytes", maxPatternBytes)
		case f.patterns > maxPatterns:
			f.failed = true
			f.problem(f.name, at, "not read: logrotate's configuration has more than %d patterns", maxPatterns)
		default:
			if strings.HasPrefix(p, "~/") {
				p = "/root" + p[1:]
			}
			f.block.Patterns = append(f.block.Patterns, p)
		}
	}
}

// close ends the block. Nothing else may stand behind '}' on its line.
func (f *logrotateFile) close() {
	if f.block == nil {
		f.fatal("'}' without '{'")
		return
	}
	f.i++
	f.add()
	for f.i < len(f.b) && isBlank(f.b[f.i]) {
		f.i++
	}
	if f.i < len(f.b) && f.b[f.i] != '\n' {
		f.problem(f.name, f.line, "text behind '}' is not read")
		f.skipLine()
	}
}

// directive reads one directive and its value.
func (f *logrotateFile) directive() {
	key := f.word()
	if f.i < len(f.b) && !isSpace(f.b[f.i]) && f.b[f.i] != '=' {
		f.wrong("%.40q is followed by %q, not by a blank", key, f.b[f.i])
		return
	}
	to := f.rotation()
	switch {
	case key == "copytruncate":
		to.Copytruncate = true
	case key == "nocopytruncate", key == "renamecopy":
		to.Copytruncate = false
	case key == "hourly", key == "daily", key == "yearly":
		to.Every = key
	case key == "weekly":
		f.period(to, key, 7)
	case key == "monthly":
		f.period(to, key, 31)
	case key == "minutes":
		f.number(key, 1, func(int64) { to.Every = key })
	case key == "size", key == "minsize", key == "maxsize":
		f.size(to, key)
	case key == "rotate":
		f.number(key, -1, nil)
	case key == "start", key == "minage", key == "maxage", key == "shredcycles":
		f.number(key, 0, nil)
	case key == "include":
		f.include(to)
	case key == "tabooext", key == "taboopat":
		f.tabooDirective(key)
	case scripts[key]:
		f.script()
	case isFlag[key]:
	case key == "su", key == "create", key == "createolddir":
		f.owner(key)
	case takesLine[key]:
		f.skipLine()
	case takesValue[key]:
		if s, ok := f.value(); !ok {
			f.wrong("%s needs a value", key)
		} else if strings.ContainsAny(s, " \t") && !mayHaveBlanks[key] {
			f.wrongValue("%s needs one value, not %.60q", key, s)
		}
	default:
		// logrotate warns, and passes over the line.
		f.skipLine()
	}
	// logrotate passes over the character behind a word, "=" or a carriage
	// return, too.
	if !f.ended && f.i < len(f.b) && f.b[f.i] != '\n' && (isSpace(f.b[f.i]) || f.b[f.i] == '=') {
		f.i++
	}
}

// period reads weekly and monthly, which may have a day.
func (f *logrotateFile) period(to *rotation, key string, most int64) {
	to.Every = key
	day := strings.TrimLeft(f.rest(), cSpace)
	if day == "" {
		return
	}
	if n, err := strconv.ParseInt(day, 10, 32); err != nil || n < 0 || n > most {
		f.fatal("bad %s directive %.40q", key, day)
	}
}

// number reads a directive that needs a number.
func (f *logrotateFile) number(key string, least int64, take func(int64)) {
	s, ok := f.value()
	if !ok && key == "minutes" {
		return
	}
	n, err := strconv.ParseInt(strings.TrimLeft(s, cSpace), 0, 64)
	if !ok {
		f.wrong("%s needs a number", key)
		return
	}
	if err != nil || n < least {
		f.wrongValue("%s needs a number, not %.40q", key, s)
		return
	}
	if take != nil {
		take(n)
	}
}

func (f *logrotateFile) size(to *rotation, key string) {
	s, ok := f.value()
	if !ok || s == "" {
		return // logrotate reports it, and goes on
	}
	n, err := logrotateSize(s)
	if err != nil {
		f.wrongValue("%s: %v", key, err)
		return
	}
	switch key {
	case "size":
		to.Every, to.size = key, n
	case "maxsize":
		to.maxsize = n
	default:
		to.minsize = n
	}
}

// owner reads a mode, a user and a group, su without the mode. Which users there
// are is not known here.
func (f *logrotateFile) owner(key string) {
	all := strings.FieldsFunc(f.rest(), func(c rune) bool { return strings.ContainsRune(cSpace, c) })
	mode := len(all) == 1 || len(all) == 3
	switch {
	case key == "su" && len(all) != 2, len(all) > 3:
		f.wrongValue("%s has %d values; a comment behind it is one, too", key, len(all))
	case key != "su" && mode:
		if _, err := strconv.ParseUint(strings.Trim(all[0], `"'`), 8, 31); err != nil {
			f.wrongValue("%s has %.20q for a mode", key, all[0])
		}
	}
}

// include reads another file or directory. Inside of a block what it says
// belongs to that block.
func (f *logrotateFile) include(to *rotation) {
	p, ok := f.value()
	if !ok || p == "" {
		f.wrong("include needs a path")
		return
	}
	if f.depth >= maxNesting {
		f.failed = true
		f.problem(f.name, f.line, "includes are nested more than %d deep", maxNesting)
		return
	}
	if strings.HasPrefix(p, "~/") {
		p = "/root" + p[1:]
	}
	f.depth++
	if f.block == nil {
		f.included = true
	}
	if !f.path(p, f.dir, to) {
		f.failed = true
	}
	f.depth--
}

func (f *logrotateFile) tabooDirective(key string) {
	if f.block != nil {
		f.wrong("%s inside of a block", key)
		return
	}
	s, ok := f.value()
	if !ok {
		return
	}
	prefix := ""
	if key == "tabooext" {
		prefix = "*"
	}
	f.tabooList(s, prefix)
}

func names(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// The directives that do not matter here. A flag has no value, so another
// directive or a comment may follow it on its line.
var (
	isFlag = names(`compress nocompress delaycompress nodelaycompress shred noshred allowhardlink noallowhardlink
		sharedscripts nosharedscripts norenamecopy copy nocopy ifempty notifempty dateext nodateext dateyesterday nodateyesterday
		datehourago nodatehourago noolddir mailfirst maillast nocreateolddir nocreate nomail missingok nomissingok ignoreduplicates errors`)
	takesLine     = names("compressoptions dateformat")
	takesValue    = names("olddir mail extension addextension compresscmd uncompresscmd compressext")
	mayHaveBlanks = names("extension addextension")
)
