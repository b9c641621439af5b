package hostconfig

import (
	"strings"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// JournalConf is how one journal is configured: that of the host, or of a
// journal namespace (journald.conf(5), systemd-journald@.service).
type JournalConf struct {
	Namespace string // "" for the host's own
	Dir       string // where its files are: /var/log/journal or /run/log/journal
	Values    map[string]string
}

// The directories in which journald keeps its files.
const (
	PersistentJournal = "/var/log/journal"
	VolatileJournal   = "/run/log/journal"
)

// maxNamespaces bounds how many journal namespaces are read.
const maxNamespaces = 50

// ReadJournals returns the configuration of the host's journal and of each
// namespace with a directory. There is none where journald keeps no files.
// skip says which directories must not be touched.
func ReadJournals(host hostfs.HostFiles, skip func(string) bool) (all []JournalConf, problems []Problem) {
	there := map[string]bool{}
	namespaces := []string{""}
	seen := map[string]bool{"": true}
	for _, dir := range []string{PersistentJournal, VolatileJournal} {
		if skip(dir) {
			continue
		}
		names, err := host.List(dir)
		if err != nil {
			continue
		}
		there[dir] = true
		for _, name := range names {
			// MACHINE-ID.NAMESPACE
			id, namespace, ok := strings.Cut(name, ".")
			if ok && len(id) == 32 && validNamespace(namespace) && !seen[namespace] && len(namespaces) < maxNamespaces {
				seen[namespace] = true
				namespaces = append(namespaces, namespace)
			}
		}
	}
	for _, namespace := range namespaces {
		name := "journald.conf"
		if namespace != "" {
			name = "journald@" + namespace + ".conf"
		}
		values, wrong := readSystemdConf(host, name, "Journal")
		problems = append(problems, wrong...)
		if dir := journalDir(values["Storage"], there); dir != "" {
			all = append(all, JournalConf{namespace, dir, values})
		}
	}
	return all, problems
}

func validNamespace(s string) bool {
	return s != "" && len(s) < 256 && !strings.ContainsAny(s, "/ \t\n")
}

// journalDir returns where journald with this Storage= keeps its files, of the
// directories that are there: with auto, the default, below /var/log only where
// the directory exists.
func journalDir(storage string, there map[string]bool) string {
	dir := ""
	switch {
	case storage == "none":
	case storage == "volatile", storage != "persistent" && !there[PersistentJournal]:
		dir = VolatileJournal
	default:
		dir = PersistentJournal
	}
	if !there[dir] {
		return ""
	}
	return dir
}

// ValidSystemdSize reports whether journald takes s as a size, parse_size in systemd:
// numbers, which may have a fraction, each with a suffix E to K (powers of 1024), B or
// none, the larger suffix first, such as "1G 512M".
func ValidSystemdSize(s string) bool {
	const blanks = " \t\n\r"
	suffixes := "EPTGMKB"
	for first := true; first || s != ""; first = false {
		s = strings.TrimLeft(s, blanks)
		rest := strings.TrimLeft(s, "0123456789")
		if rest == s || len(s)-len(rest) > 20 {
			return false
		}
		if after, ok := strings.CutPrefix(rest, "."); ok {
			rest = strings.TrimLeft(after, "0123456789")
		}
		rest = strings.TrimLeft(rest, blanks)
		at := len(suffixes) // none
		if rest != "" {
			if i := strings.IndexByte(suffixes, rest[0]); i >= 0 {
				at, rest = i, rest[1:]
			}
		}
		if at == len(suffixes) && rest != "" { // what has no suffix is the last
			return false
		}
		suffixes = suffixes[min(at+1, len(suffixes)):]
		s = rest
	}
	return true
}
