package recommend

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nodetune/nodetune/reporter"
)

// maxReportBytes bounds one file: the report of a node with 10,000 processes has
// some 10 MiB.
const maxReportBytes = 256 << 20

// ReadReports calls each for the reports of a file, - for stdin, and returns how many there are.
func ReadReports(name string, stdin io.Reader, each func(reporter.Document)) (int, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return 0, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	limited := &io.LimitedReader{R: in, N: maxReportBytes}
	decoder := json.NewDecoder(limited)
	for n := 0; ; n++ {
		var d reportDocument
		err := decoder.Decode(&d)
		switch {
		case limited.N == 0:
			return n, fmt.Errorf("%s: more than %d MiB: give each report a file of its own", name, maxReportBytes>>20)
		case errors.Is(err, io.EOF) && n == 0:
			return 0, fmt.Errorf("%s is empty: want a report, as 'nodetune check -o json' prints it", name)
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, fmt.Errorf("%s: report %d is no JSON of a report: %w", name, n+1, err)
		case d.Kind != "Report" || d.APIVersion != reporter.APIVersion:
			return n, fmt.Errorf("%s: document %d has kind %q of %q: want kind Report of %s, as 'nodetune check -o json' prints it", name, n+1, d.Kind, d.APIVersion, reporter.APIVersion)
		case d.Inotify == nil:
			return n, fmt.Errorf("%s: report %d has no section inotify: run 'sudo nodetune check -o json' on the node", name, n+1)
		}
		each(d.Document)
	}
}

// reportDocument is a report without its section of disks, which is large and not needed.
type reportDocument struct {
	reporter.Document
	Disk json.RawMessage `json:"disk"`
}
