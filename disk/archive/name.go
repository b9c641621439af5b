package archive

import (
	"bytes"

	"github.com/nodetune/nodetune/disk/journal"
)

// ParseName returns the name of the live log that a rotated or compressed file
// belongs to, and whether name is one. It knows the names of logrotate
// (syslog.1, syslog.2.gz, syslog-20260131, syslog-20260131-1769817600.gz), of
// the kubelet (0.log.20260131-120000, and .gz) and of journald
// (system@….journal, system@….journal~). base is a part of name.
func ParseName(name []byte) (base []byte, ok bool) {
	if at := bytes.IndexByte(name, '@'); at > 0 && journal.IsFile(name[at:]) {
		return name[:at], true
	}
	base = name
	if n := SuffixLen(name); n > 0 && n < len(name) {
		base, ok = name[:len(name)-n], true
	}
	for range 2 { // a date and a time, or a date and a number
		b := trimStamp(base)
		if b == nil {
			break
		}
		base, ok = b, true
	}
	return base, ok
}

var compressed = [][]byte{[]byte(".gz"), []byte(".zst"), []byte(".xz"), []byte(".bz2"), []byte(".lz4")}

// SuffixLen returns the length of the suffix of a compressed file, or 0.
func SuffixLen(name []byte) int {
	for _, suffix := range compressed {
		if bytes.HasSuffix(name, suffix) {
			return len(suffix)
		}
	}
	return 0
}

// trimStamp cuts a number of one to three digits after a dot, or a date or
// time of at least six digits after a dot, dash or underscore, off the end of
// name. It returns nil where there is none or nothing would be left.
func trimStamp(name []byte) []byte {
	i := len(name)
	for i > 0 && name[i-1] >= '0' && name[i-1] <= '9' {
		i--
	}
	digits := len(name) - i
	if i < 2 || digits == 0 {
		return nil
	}
	switch sep := name[i-1]; {
	case sep == '.' && digits <= 3:
	case (sep == '.' || sep == '-' || sep == '_') && digits >= 6:
	default:
		return nil
	}
	return name[:i-1]
}
