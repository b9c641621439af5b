package reports

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/recommend"
)

// maxReportBytes bounds one file: the report of a node with 10,000 processes has
// some 10 MiB.
const maxReportBytes = 256 << 20

// Read calls each with the samples of each document of a file, - for stdin, and returns
// how many there are. A document is a Report or a NodeStatus.
func Read(name string, stdin io.Reader, p inotify.Policy, each func([]recommend.Sample)) (int, error) {
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
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		switch {
		case limited.N == 0:
			return n, fmt.Errorf("%s: more than %d MiB: give each report a file of its own", name, maxReportBytes>>20)
		case errors.Is(err, io.EOF) && n == 0:
			return 0, fmt.Errorf("%s is empty: want a report, as 'nodetune check -o json' prints it", name)
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, fmt.Errorf("%s: report %d is no JSON of a report: %w", name, n+1, err)
		}
		samples, err := read(name, raw, p)
		if err != nil {
			return n, fmt.Errorf("%s: document %d %w", name, n+1, err)
		}
		each(samples)
	}
}

// read returns the samples of one document.
func read(name string, raw []byte, p inotify.Policy) ([]recommend.Sample, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fmt.Errorf("is no JSON of a report: %w", err)
	}
	switch {
	case head.APIVersion != reporter.APIVersion || head.Kind != "Report" && head.Kind != "NodeStatus":
		return nil, fmt.Errorf("has kind %.40q of %.40q: want kind Report of %s, as 'nodetune check -o json' prints it, or NodeStatus, as /status.json of an agent has it", head.Kind, head.APIVersion, reporter.APIVersion)
	case head.Kind == "NodeStatus":
		return recommend.FromStatus(name, raw)
	}
	var d reportDocument
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("is no JSON of a report: %w", err)
	}
	if d.Inotify == nil {
		return nil, errors.New("has no section inotify: run 'sudo nodetune check -o json' on the node")
	}
	return Observe(name, d.Document, p), nil
}

// reportDocument is a report without its section of disks, which is large and not needed.
type reportDocument struct {
	reporter.Document
	Disk json.RawMessage `json:"disk"`
}
