package sysctld

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nodetune/nodetune/sysctl"
)

// cmdlineFile is the path that a [Setting] of the kernel command line names.
const cmdlineFile = "/proc/cmdline"

// maxCmdlineBytes is far above COMMAND_LINE_SIZE (2,048 bytes on x86 and arm64)
// and the 32 KiB that a boot configuration can add.
const maxCmdlineBytes = 256 << 10

// Cmdline is what the kernel command line sets (do_sysctl_args in
// fs/proc/proc_sysctl.c, since Linux 5.8). The kernel writes these values before
// it starts init, so that systemd-sysctl and sysctl --system overwrite them.
type Cmdline struct {
	Problems []Problem
	args     []cmdlineArg
}

// cmdlineArg is one argument of the form sysctl.KEY=VALUE.
type cmdlineArg struct {
	written  string // as it stands in the command line, without the value
	path     string // below /proc/sys
	value    string
	noEffect string // why the kernel ignores the argument; "" where it does not
}

// ReadCmdline reads <procfs>/cmdline, and <procfs>/sys/kernel/osrelease for the
// version of the kernel. A command line that cannot be read is a [Problem].
func ReadCmdline(procfs string) Cmdline {
	f, err := os.Open(filepath.Join(procfs, "cmdline"))
	if err != nil {
		problem := "cannot be read: " + cause(err)
		if errors.Is(err, fs.ErrNotExist) {
			problem = "is not below the procfs given by --path.procfs"
		}
		return Cmdline{Problems: []Problem{{File: cmdlineFile, Problem: problem + ": what the kernel command line sets is not known"}}}
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxCmdlineBytes+1))
	switch {
	case err != nil:
		return Cmdline{Problems: []Problem{{File: cmdlineFile, Problem: cause(err)}}}
	case len(text) > maxCmdlineBytes:
		return Cmdline{Problems: []Problem{{File: cmdlineFile, Problem: "is larger than 256 KiB"}}}
	}
	release, _ := os.ReadFile(filepath.Join(procfs, "sys/kernel/osrelease")) // unknown: taken as new
	return parseCmdline(text, strings.TrimSpace(string(release)))
}

func parseCmdline(text []byte, release string) Cmdline {
	var c Cmdline
	text, _, _ = bytes.Cut(bytes.TrimRight(text, "\n"), []byte{0})
	for args := skipSpaces(text); len(args) > 0; {
		var param, value []byte
		var assigned bool
		param, value, assigned, args = nextArg(args)
		if !assigned && string(param) == "--" {
			break // the rest is for init
		}
		key, ok := strings.CutPrefix(string(param), "sysctl")
		if !ok || key == "" || key[0] != '.' && key[0] != '/' {
			continue
		}
		// The kernel makes every dot a slash. It does not know the swap of sysctl.d.
		path := strings.ReplaceAll(key[1:], ".", "/")
		a := cmdlineArg{written: string(param), path: simplify(path), value: string(value)}
		switch {
		case before58(release):
			a.noEffect = "Linux " + release + " ignores it: sysctl arguments came with Linux 5.8"
		case len(value) == 0:
			a.noEffect = "it has no value"
		case strings.HasSuffix(path, "/"):
			a.noEffect = "its name ends in a separator"
		}
		c.args = append(c.args, a)
	}
	return c
}

// before58 reports whether release, as uname -r prints it, is older than 5.8.
func before58(release string) bool {
	major, rest, _ := strings.Cut(release, ".")
	minor := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	return errA == nil && errB == nil && (a < 5 || a == 5 && b < 8)
}

// nextArg is next_arg of lib/cmdline.c: it splits the first argument off args,
// which begins without a space.
func nextArg(args []byte) (param, value []byte, assigned bool, rest []byte) {
	quoted := len(args) > 0 && args[0] == '"'
	if quoted {
		args = args[1:]
	}
	inQuote, equals, i := quoted, 0, 0
	for ; i < len(args); i++ {
		if isSpace(args[i]) && !inQuote {
			break
		}
		if equals == 0 && args[i] == '=' {
			equals = i
		}
		if args[i] == '"' {
			inQuote = !inQuote
		}
	}
	end := i
	// Where both quotes end at one byte, the kernel overwrites it once.
	endsQuoted := end > 0 && args[end-1] == '"'
	param = args[:end]
	if equals > 0 {
		assigned = true
		param, value = args[:equals], args[equals+1:end]
		if len(value) > 0 && value[0] == '"' {
			value = value[1:]
			if endsQuoted && len(value) > 0 {
				value, endsQuoted = value[:len(value)-1], false
			}
		}
	}
	if quoted && endsQuoted {
		if assigned {
			value = bytes.TrimSuffix(value, []byte{'"'})
		} else {
			param = param[:len(param)-1]
		}
	}
	if i < len(args) {
		i++
	}
	return param, value, assigned, skipSpaces(args[i:])
}

func skipSpaces(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return b
}

// isSpace is isspace of lib/ctype.c, which counts the no-break space of Latin-1.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' || c == 0xa0 }

// Settings returns the arguments that name path. The last one that the kernel
// accepts wins over the others.
func (c Cmdline) Settings(path string) []Setting {
	var all []Setting
	winner := -1
	for _, a := range c.args {
		if !slices.Contains(names(path), a.path) {
			continue
		}
		s := Setting{Place: Place{cmdlineFile, 1}, Key: a.written, Value: a.value}
		switch {
		case a.noEffect != "":
			s.Disposition, s.Reason = NoEffect, a.noEffect
		case !takes(path, a.value):
			s.Disposition = Refused
		default:
			s.Disposition = Wins
			if winner >= 0 {
				all[winner].Disposition, all[winner].By = Overridden, s.Key+"="+s.Value
			}
			winner = len(all)
		}
		all = append(all, s)
	}
	return all
}

// Initial returns the range of values that k can have at boot before a loader
// runs, and where the value comes from. running is the current value.
func (c Cmdline) Initial(k sysctl.Key, m sysctl.Machine, running sysctl.Value) (least, most sysctl.Value, by string) {
	least, most, by = sysctl.Initial(k, m, running)
	if k == sysctl.FileMax && running == math.MaxInt64 {
		return least, most, by // systemd raises it after the kernel read its arguments
	}
	for _, s := range c.Settings(k.Path()) {
		if s.Disposition == Wins {
			return s.Number(), s.Number(), fmt.Sprintf("the kernel command line, %s=%s", s.Key, s.Value)
		}
	}
	return least, most, by
}
