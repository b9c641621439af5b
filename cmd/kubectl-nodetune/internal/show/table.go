package show

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/view"
)

// table writes rows below a header.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer, header string) table {
	t := table{tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)}
	fmt.Fprintln(t, header)
	return t
}

func (t table) row(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = safetext.String(fmt.Sprint(c))
	}
	fmt.Fprintln(t, strings.Join(text, "\t"))
}

// first returns the first n of rows, all with n <= 0.
func first[T any](rows []T, n int) []T {
	if n <= 0 {
		return rows
	}
	return rows[:min(n, len(rows))]
}

func more(w io.Writer, all, rows int, one, many string) {
	if rows > 0 && all > rows {
		fmt.Fprintf(w, "and %s: --rows 0 shows all\n", field.Count(all-rows, "more "+one, "more "+many))
	}
}

// count writes a figure; ? where it could not be measured.
func count(n int64, quality string) string {
	switch quality {
	case "unknown":
		return "?"
	case "estimate":
		return fmt.Sprintf("~%d", n)
	case "upper_bound":
		return fmt.Sprintf("<=%d", n)
	}
	return fmt.Sprint(n)
}

func limit(l view.Limit) string {
	if l < 0 {
		return "?"
	}
	return fmt.Sprint(int64(l))
}

// percent rounds down: 100% means that the limit is reached.
func percent(used int64, l view.Limit, quality string) string {
	if l < 0 || quality == "unknown" {
		return "-"
	}
	return fmt.Sprintf("%d%%", int64(l.Percent(used)))
}

func seconds(s *float64) string {
	if s == nil {
		return "-"
	}
	return field.HumanDuration(time.Duration(max(0, min(*s, 1e9))) * time.Second)
}

func rate(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v < 0:
		return "-" + field.Size(uint64(min(-*v, 1e18))) + "/s"
	}
	return field.Size(uint64(min(*v, 1e18))) + "/s"
}

func missing(w io.Writer, r *view.Report, section string) error {
	why := r.Errors[section]
	if why == "" {
		why = "the agent has not looked yet"
	}
	_, err := fmt.Fprintf(w, "not known: %s\n", safetext.String(why))
	return err
}
