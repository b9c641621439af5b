package hostconfig

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/hostfstest"
)

// rotates is what logrotate does with the files of one stanza.
type rotates struct {
	files            string // those that exist, in order
	every            string
	size             int64
	minsize, maxsize int64
	copytruncate     bool
}

// The lines of a generated stanza. %d is a size. 'monthly 31' is not among them:
// logrotate before 3.22 takes no day there, and nodetune does.
var (
	logrotateDirectives = []string{
		"weekly", "daily", "hourly", "monthly", "yearly", "weekly 3", "weekly 9 # wrong", "weekly x",
		"size %dk", "size=%d", "size = %dM", "size %dk # wrong", "size 0x%d", "size %dT", "size", "size -1",
		"minsize %dk", "maxsize %dM", "maxsize %d", "maxsize 1G trailing", "minsize\t\t%dk\t",
		"copytruncate", "nocopytruncate", "copytruncate # lines are lost", "renamecopy", "copy", "nocopy",
		"# copytruncate", "#copytruncate", "   # daily postrotate", "compress", "compress # copytruncate postrotate {", "nocompress#x",
		"delaycompress nocompress copytruncate", "rotate 4", "rotate 4 copytruncate", "rotate x", "rotate -1", "rotate", "start 2", "start x",
		"missingok", "notifempty", "ifempty", "sharedscripts # run postrotate once", "dateext", "dateformat -%%Y copytruncate", "extension .x copytruncate",
		"mail root", "mail root # copytruncate", "nomail", "create", "create 0640", "create 0640 # copytruncate more", "create 99z", "nocreate",
		"su", "su root", "compressoptions -9 copytruncate", "unknown copytruncate", "unknown", "size%dk", "Daily", "DAILY", "copytruncate=1",
		"compress\r", "compress\r\ndaily\r", "", " ", "\t", "daily weekly", "daily\tmaxsize %dM", "minage 0", "maxage 5", "shredcycles 3", "shredcycles x",
		"postrotate\n  copytruncate\n  endscript", "postrotate\n\tcase x in a) echo } ;; esac\nendscript", "prerotate # {\n# endscript\necho\nendscript",
		"postrotate\nendscript daily", "firstaction\n\nif true; then endscript; fi\n endscript x", "lastaction endscript", "preremove\nendscripts\nendscript",
		"postrotate\n'endscript'\nendscript", "errors x", "errors", "tabooext .x", "include /nonexistent", "noolddir", "olddir", "/another {", "%d", "!daily", "daily}",
		"ignoreduplicates", "noallowhardlink", "mailfirst maillast", "nodateext\tdateyesterday", "compresscmd /bin/gzip -9", "compressext .gz", "uncompresscmd", "{ daily",
	}
	logrotateNames = []string{
		"%s/*.log", "%s/a.log", "\"%s/with blank.log\"", "'%s/with blank.log' %s/b.log", "%s/a.log\n# %s/b.log\n%s/c1.log",
		"%s/[ab].log", "%s/[!ab]*.log", "%s/[^a]*.log", "%s/c[[:digit:]].log", "%s/?.log", "%s/*/a.log", "%s/.h*", "%s/*", "%s/with\\ blank.log",
		"%s/\\[x\\].log", "\"%s/\\[x\\].log\"", "%s/{a,b}.log", "%s//a.log", "%s/[a.log", "%s/[]a].log", "%s/[a-c]*", "'%s/*.log", "%s/a.log\t%s/b.log  ", "%s/a.log\n\n",
		"%s/c[0-9].log", "%s/**", "%s/*.l[o]g", "%s/sub", "%s/./a.log", "\"%s/a.log\"%s/b.log", "%s/a*b*.log", "%s/[[:alpha:]].log", "%s/[z-a].log",
	}
	logrotateOpens  = []string{" {\n", "{\n", "\n{\n", " { # copytruncate\n", "\n\n{", " {", "\n# a comment\n{\n", " {daily\n", " { copytruncate\n"}
	logrotateCloses = []string{"}\n", "}\n", "}\n", "  }\n", "} # copytruncate\n", "} daily\n", "}\n}\n", "daily }\n", "}", "\n}\n\n", "} }\n"}
)

// Whatever a configuration looks like, nodetune reads it as logrotate does:
// 'logrotate -d' is the oracle for a table of generated ones.
func TestLogrotateOracle(t *testing.T) {
	exe, err := exec.LookPath("logrotate")
	if err != nil {
		t.Fatal("this test compares with logrotate: run 'make deps'")
	}
	root, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	rnd := rand.New(rand.NewPCG(13, 7))
	pick := func(all []string) string { return all[rnd.IntN(len(all))] }
	stanzas, skipped, crashed := 0, 0, 0
	for n := range 150 {
		top := t.TempDir()
		var conf strings.Builder
		line := func() {
			s := pick(logrotateDirectives)
			if strings.Contains(s, "%") {
				s = fmt.Sprintf(strings.ReplaceAll(s, "%d", "%[1]d"), 1+rnd.IntN(2000))
			}
			conf.WriteString(s + "\n")
		}
		for range rnd.IntN(3) {
			// Global directives: mostly ones that logrotate accepts, or it
			// would read nothing of most files.
			if rnd.IntN(6) == 0 {
				line()
			} else {
				conf.WriteString(pick([]string{"weekly\n", "daily\n", "size 7k\n", "copytruncate\n", "maxsize 3M\n", "# daily\n", "compress\n"}))
			}
		}
		for i := range 1 + rnd.IntN(3) {
			dir := filepath.Join(top, fmt.Sprintf("d%d", i))
			for _, name := range []string{"a.log", "b.log", "c1.log", ".hidden.log", "with blank.log", "[x].log", "axxb.log", "sub/a.log"} {
				hostfstest.MakeFile(t, filepath.Join(dir, name), "a line\n")
			}
			conf.WriteString(strings.ReplaceAll(pick(logrotateNames), "%s", dir) + pick(logrotateOpens))
			for range rnd.IntN(5) {
				line()
			}
			conf.WriteString(pick(logrotateCloses))
		}
		file := filepath.Join(top, "conf")
		hostfstest.MakeFile(t, file, conf.String())
		want, ok := askLogrotate(t, exe, file)
		if !ok {
			crashed++
			continue
		}
		r := logrotateReader{host: hostfs.Root(root.Fd()).Files(), taboo: defaultTaboo()}
		global := defaultRotation
		r.path(file, "/", &global)
		var got []rotates
		for _, s := range r.conf.Stanzas {
			if s.Skipped != "" {
				skipped++
				continue
			}
			x := rotates{every: s.Every, minsize: s.minsize, maxsize: s.maxsize, copytruncate: s.Copytruncate}
			if s.Every == "size" {
				x.size = s.size
			}
			var files []string
			for _, f := range regular(t, top) {
				if s.Matches(f) {
					files = append(files, f)
				}
			}
			if x.files = strings.Join(files, "\n"); x.files != "" {
				got = append(got, x)
			}
		}
		stanzas += len(want)
		if !slices.Equal(got, want) {
			t.Errorf("configuration %d:\n%s\n got %+v\nwant %+v\nproblems %+v", n, strings.ReplaceAll(conf.String(), top, ""), got, want, r.conf.Problems)
		}
	}
	t.Logf("%d stanzas read, %d skipped; logrotate itself crashed %d times", stanzas, skipped, crashed)
	if stanzas < 100 || skipped < 40 || crashed > 5 {
		t.Errorf("%d stanzas read, %d skipped, %d crashes: the table has lost its meaning", stanzas, skipped, crashed)
	}
}

// regular returns the files below top in order.
func regular(t *testing.T, top string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(top, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all = append(all, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

var (
	rotatingPattern = regexp.MustCompile(`(?s)^rotating pattern: .*?\s(after \d+ days|hourly|weekly|monthly|yearly|(-?\d+) bytes|forced from command line) `)
	onlyFrom        = regexp.MustCompile(`only log files >= (\d+) bytes are rotated`)
	earlierFrom     = regexp.MustCompile(`log files >= (\d+) are rotated earlier`)
)

// askLogrotate returns what 'logrotate -d' would do with the files that exist,
// in stanzas that have any. ok is false where it crashes: it does on some wrong
// configurations.
func askLogrotate(t *testing.T, exe, conf string) (all []rotates, ok bool) {
	t.Helper()
	plain, ok := logrotateDebug(t, exe, conf)
	forced, both := logrotateDebug(t, exe, "-f", conf)
	if !ok || !both {
		return nil, false
	}
	if len(plain) != len(forced) {
		t.Fatalf("%d stanzas, and %d with -f", len(plain), len(forced))
	}
	for i, block := range plain {
		m := rotatingPattern.FindStringSubmatch(block)
		if m == nil {
			t.Fatalf("not understood: %s", block)
		}
		r := rotates{every: m[1], copytruncate: strings.Contains(forced[i], "\ntruncating ")}
		switch {
		case m[2] != "":
			r.every = "size"
			r.size, _ = strconv.ParseInt(m[2], 10, 64)
		case strings.HasPrefix(m[1], "after"):
			r.every = "daily"
		}
		for re, to := range map[*regexp.Regexp]*int64{onlyFrom: &r.minsize, earlierFrom: &r.maxsize} {
			if m := re.FindStringSubmatch(block); m != nil {
				*to, _ = strconv.ParseInt(m[1], 10, 64)
			}
		}
		var files []string
		lines := bufio.NewScanner(strings.NewReader(block))
		for lines.Scan() {
			if f, ok := strings.CutPrefix(lines.Text(), "considering log "); ok {
				f = filepath.Clean(f)
				if st, err := os.Lstat(f); err == nil && st.Mode().IsRegular() && !slices.Contains(files, f) {
					files = append(files, f)
				}
			}
		}
		slices.Sort(files)
		if r.files = strings.Join(files, "\n"); r.files != "" {
			all = append(all, r)
		}
	}
	return all, true
}

// logrotateDebug returns the blocks that logrotate prints, one for each stanza.
func logrotateDebug(t *testing.T, exe string, args ...string) (blocks []string, ok bool) {
	t.Helper()
	cmd := exec.Command(exe, append([]string{"-d", "-s", filepath.Join(t.TempDir(), "state")}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput() // it fails where one stanza is wrong
	if cmd.ProcessState.ExitCode() < 0 {
		return nil, false // by a signal
	}
	if err != nil && !bytes.Contains(out, []byte("error: ")) {
		t.Fatalf("%v: %s", err, out)
	}
	parts := strings.Split(string(out), "\nrotating pattern: ")
	for i := range parts {
		parts[i] = "rotating pattern: " + parts[i]
	}
	return parts[1:], true
}
