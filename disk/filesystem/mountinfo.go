package filesystem

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// Mount is one line of /proc/PID/mountinfo, proc_pid_mountinfo(5).
type Mount struct {
	ID       int
	dev      string // major:minor of the superblock; btrfs shows another one in st_dev
	root     string
	point    string
	fstype   string
	source   string
	ReadOnly bool   // its superblock: no process can write. A mount may be ro for us alone, as /var/log in a pod
	ShutDown bool   // ext4 and xfs since Linux 6.15 show that they were shut down
	upper    string // upperdir of an overlay, as the program that mounted it named it
}

var errMountinfo = errors.New("not a line of proc_pid_mountinfo(5)")

// ReadMounts parses mountinfo. A line it does not understand is counted and
// left out: one odd mount must not hide the others.
func ReadMounts(r io.Reader) (mounts []Mount, wrong int, err error) {
	b := bufio.NewReader(r)
	for {
		// Overlay lines grow with their number of layers: no limit.
		line, err := b.ReadBytes('\n')
		if len(line) > 0 {
			m, bad := parseMount(bytes.TrimSuffix(line, []byte{'\n'}))
			if bad != nil {
				wrong++
			} else {
				mounts = append(mounts, m)
			}
		}
		if errors.Is(err, io.EOF) {
			return mounts, wrong, nil
		}
		if err != nil {
			return mounts, wrong, fmt.Errorf("read mountinfo: %w", err)
		}
	}
}

// parseMount parses, for example,
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMount(line []byte) (Mount, error) {
	f := strings.Split(string(line), " ")
	if len(f) < 9 {
		return Mount{}, errMountinfo
	}
	dash := 6
	for dash < len(f) && f[dash] != "-" {
		dash++
	}
	// A source may be empty, which leaves two blanks side by side.
	if dash+3 >= len(f) {
		return Mount{}, errMountinfo
	}
	m := Mount{
		dev: f[2], root: unescape(f[3]), point: unescape(f[4]),
		fstype: f[dash+1], source: unescape(f[dash+2]),
	}
	super := f[len(f)-1]
	m.ReadOnly = option(super, "ro") || option(super, "emergency_ro")
	m.ShutDown = option(super, "shutdown")
	if m.fstype == "overlay" {
		m.upper = upperDir(super)
	}
	if n, err := fmt.Sscanf(f[0]+" "+f[2], "%d %d:%d", &m.ID, new(uint32), new(uint32)); n != 3 || err != nil {
		return Mount{}, errMountinfo
	}
	if !path.IsAbs(m.point) {
		return Mount{}, errMountinfo
	}
	return m, nil
}

// SDev is the device as the kernel prints it for an inotify watch: twenty bits
// of minor, where stat(2) has another encoding.
func (m Mount) SDev() uint64 {
	major, minor, _ := strings.Cut(m.dev, ":")
	a, _ := strconv.ParseUint(major, 10, 32)
	b, _ := strconv.ParseUint(minor, 10, 32)
	return a<<20 | b
}

func option(list, want string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if o == want {
			return true
		}
	}
	return false
}

// unescape undoes the kernel's mangling of blank, tab, newline and backslash,
// and of '#' in sources, as three octal digits.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) && s[i+1] < '4' {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return c >= '0' && c <= '7' }

// HostMounts cuts rootfs off the mount points, so that they are the host's, and
// leaves out the mounts that are not below it. The mount that rootfs lies on is
// the host's root.
func HostMounts(mounts []Mount, rootfs string) []Mount {
	var host []Mount
	if root, ok := MountOf(mounts, rootfs); ok {
		root.point = "/"
		host = append(host, root)
	}
	for _, m := range mounts {
		if rel, ok := hostfs.Below(m.point, rootfs); ok && rel != "" {
			m.point = "/" + rel
			host = append(host, m)
		}
	}
	return host
}

// MountOf returns the mount that p lies on: the longest mount point above it,
// and of several on the same point the last, which hides the others.
func MountOf(mounts []Mount, p string) (Mount, bool) {
	best, length := Mount{}, -1
	for _, m := range mounts {
		if _, ok := hostfs.Below(p, m.point); ok && len(m.point) >= length {
			best, length = m, len(m.point)
		}
	}
	return best, length >= 0
}
