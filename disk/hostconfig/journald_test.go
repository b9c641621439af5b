package hostconfig

import (
	"testing"

	"github.com/nodetune/nodetune/internal/hostfstest"
)

func TestReadJournald(t *testing.T) {
	host := hostfstest.Files{
		"/etc/systemd/journald.conf":                     "[Journal]\n#SystemMaxUse=\nnonsense\nStorage = persistent\n[Other]\nSystemMaxUse=9G\n",
		"/usr/lib/systemd/journald.conf":                 "[Journal]\nStorage=volatile\n",
		"/usr/lib/systemd/journald.conf.d/10-a.conf":     "[Journal]\nSystemMaxUse=1G\n",
		"/etc/systemd/journald.conf.d/20-b.conf":         "[Journal]\nSystemMaxUse= \\\n# between\n2G\n",
		"/etc/systemd/journald.conf.d/10-a.conf":         "; masked\n",
		"/run/systemd/journald.conf.d/30-unrelated.text": "[Journal]\nSystemMaxUse=3G\n",
	}
	got, problems := readSystemdConf(host.Files(), "journald.conf", "Journal")
	if got["SystemMaxUse"] != "2G" || got["Storage"] != "persistent" || problems != nil {
		t.Errorf("%v, %v", got, problems)
	}
}

// The rows are of parse_size in systemd, 257.
func TestValidSystemdSize(t *testing.T) {
	for size, want := range map[string]bool{
		"1G": true, "64M": true, "1024": true, "0": true, "1B": true, "1.5G": true, "1.G": true, "1 G": true, " 1G": true,
		"1G 512M": true, "1G512M": true, "2T 1": true, "1G 512M 3K 1B": true, "1G ": false,
		"": false, " ": false, "G": false, "1g": false, "1GB": false, "1GiB": false, "10%": false, "-1": false, "+1": false, "infinity": false,
		"512M 1G": false, "1G 1G": false, "1 1": false, "1G # most": false, ".5G": false, "1,5G": false, "99999999999999999999999": false,
	} {
		if got := ValidSystemdSize(size); got != want {
			t.Errorf("%q: %t, want %t", size, got, want)
		}
	}
}

// A setting at the end of the file always counts. The empty line ends one that goes on.
func FuzzJournald(f *testing.F) {
	f.Add("[Journal]\nSystemMaxUse=1G\n")
	f.Fuzz(func(t *testing.T, s string) {
		values := map[string]string{}
		parseUnitConf([]byte(s+"\n\n[Journal]\nSystemMaxUse=7G\n"), "Journal", values)
		if values["SystemMaxUse"] != "7G" {
			t.Fatalf("%q", values["SystemMaxUse"])
		}
	})
}

func FuzzDocker(f *testing.F) {
	f.Add([]byte(`{"log-driver":"local","log-opts":{"max-size":"1m"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseDocker(b)
		if err != nil && (c.LogDriver != "" || c.LogOpts != nil) {
			t.Fatalf("%+v with %v", c, err)
		}
	})
}
