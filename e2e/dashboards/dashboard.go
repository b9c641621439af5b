// Package dashboards makes the Grafana dashboards of nodetune. A test writes them to the
// chart and to the component of Kustomize.
package dashboards

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Dashboard is one page of Grafana.
type Dashboard struct {
	UID, Title, Description string
	Variables               []string // of cluster, node and namespace
	Rows                    []Row
}

// Row is a titled group of panels.
type Row struct {
	Title  string
	Panels []Panel
}

// Kind is a panel type of Grafana.
type Kind string

// The kinds of panels.
const (
	Stat   Kind = "stat"
	Series Kind = "timeseries"
	Table  Kind = "table"
	Gauge  Kind = "bargauge"
	Text   Kind = "text"
)

// Panel is one picture.
type Panel struct {
	Kind               Kind
	Title, Description string
	Content            string // Markdown of a text
	Unit               string
	Queries            []Query
	// Warn and Critical colour a value at or above them, or at or below them where
	// Critical is less than Warn. Both 0: none.
	Warn, Critical float64
	Max            float64           // of the axis; 0: as the data has it
	Words          map[string]string // shown in place of a value
	Runbook        string            // the alert whose page helps
	Width          int               // of 24; 0: a third
}

// Query is one PromQL query.
type Query struct {
	Expr   string
	Legend string // of a series, or the column of a table
	Unit   string // of the column of a table
}

// All are the dashboards, by the name of their file.
func All() map[string]Dashboard {
	return map[string]Dashboard{"nodetune-fleet.json": fleet(), "nodetune-node.json": node(), "nodetune-workload.json": workload()}
}

// Queries are those of all panels and annotations.
func (d Dashboard) Queries() (all []Query) {
	for _, r := range d.Rows {
		for _, p := range r.Panels {
			all = append(all, p.Queries...)
		}
	}
	for _, a := range annotations {
		all = append(all, Query{Expr: a.expr, Legend: a.title})
	}
	return all
}

const runbooks = "https://github.com/nodetune/nodetune/blob/main/docs/runbooks/"

type object = map[string]any

var datasource = object{"type": "prometheus", "uid": "${datasource}"}

// annotations are marks on each picture.
var annotations = []struct{ title, expr, text, colour string }{
	{"limit raised", `sum by (node, key) (increase(nodetune_sysctl_writes_total{result="success",` + onNode + `}[2m])) > 0`, "nodetune wrote {{key}} on {{node}}", "blue"},
	{"alert", `ALERTS{alertname=~"Nodetune.*",alertstate="firing",severity="critical",` + inCluster + `}`, "{{alertname}} on {{node}}", "red"},
}

// Matchers of the variables.
const (
	inCluster   = `cluster=~"$cluster"`
	onNode      = inCluster + `,node=~"$node"`
	inNamespace = onNode + `,namespace=~"$namespace"`
)

// JSON is the dashboard as Grafana imports it.
func (d Dashboard) JSON() (string, error) {
	variables := []object{{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "data source"}}
	for _, v := range d.Variables {
		variables = append(variables, variable(v))
	}
	marks := []object{}
	for _, a := range annotations {
		if !slices.Contains(d.Variables, "node") {
			a.expr = strings.ReplaceAll(a.expr, onNode, inCluster)
		}
		marks = append(marks, object{"name": a.title, "datasource": datasource, "enable": true, "expr": a.expr, "titleFormat": a.title, "textFormat": a.text, "iconColor": a.colour, "step": "1m"})
	}
	b, err := json.MarshalIndent(object{
		"uid": d.UID, "title": d.Title, "description": d.Description, "tags": []string{"nodetune"},
		"schemaVersion": 39, "timezone": "browser", "refresh": "1m", "editable": true, "graphTooltip": 1,
		"time":        object{"from": "now-6h", "to": "now"},
		"templating":  object{"list": variables},
		"annotations": object{"list": marks},
		"links":       []object{{"type": "dashboards", "tags": []string{"nodetune"}, "title": "nodetune", "includeVars": true, "keepTime": true}},
		"panels":      d.panels(),
	}, "", " ")
	return string(b) + "\n", err
}

// variable is a list of values of a label; all of them unless one is chosen.
func variable(label string) object {
	family := "nodetune_build_info"
	if label == "namespace" {
		family = "nodetune_log_bytes"
	}
	if label != "cluster" {
		family += "{" + inCluster + "}"
	}
	return object{
		"name": label, "type": "query", "datasource": datasource, "refresh": 2, "sort": 1,
		"query": object{"query": fmt.Sprintf("label_values(%s, %s)", family, label), "refId": label},
		"multi": true, "includeAll": true, "allValue": ".*", "current": object{"text": "All", "value": "$__all"},
	}
}

// panels places the rows below each other, each panel to the right of the one before it.
func (d Dashboard) panels() []object {
	var all []object
	y := 0
	for _, r := range d.Rows {
		all = append(all, object{"id": len(all) + 1, "type": "row", "title": r.Title, "collapsed": false, "panels": []object{}, "gridPos": object{"x": 0, "y": y, "w": 24, "h": 1}})
		y++
		x, height := 0, 0
		for _, p := range r.Panels {
			w, h := p.Width, p.height()
			if w == 0 {
				w = 8
			}
			if x+w > 24 {
				x, y, height = 0, y+height, 0
			}
			o := p.object()
			o["id"], o["gridPos"] = len(all)+1, object{"x": x, "y": y, "w": w, "h": h}
			all = append(all, o)
			x, height = x+w, max(height, h)
		}
		y += height
	}
	return all
}

func (p Panel) height() int {
	if p.Kind == Stat {
		return 4
	}
	return 8
}

func (p Panel) object() object {
	defaults := object{"unit": p.Unit, "min": 0, "thresholds": p.thresholds()}
	if p.Max > 0 {
		defaults["max"] = p.Max
	}
	if p.Words != nil {
		options := object{}
		for i, value := range slices.Sorted(maps.Keys(p.Words)) {
			options[value] = object{"text": p.Words[value], "index": i}
		}
		defaults["mappings"] = []object{{"type": "value", "options": options}}
	}
	o := object{"type": string(p.Kind), "title": p.Title, "description": p.Description, "datasource": datasource, "targets": p.targets()}
	if p.Runbook != "" {
		o["links"] = []object{{"title": "Runbook: " + p.Runbook, "url": runbooks + p.Runbook + ".md", "targetBlank": true}}
	}
	overrides := []object{}
	switch p.Kind {
	case Text:
		return object{"type": string(p.Kind), "title": p.Title, "description": p.Description, "options": object{"mode": "markdown", "content": p.Content}}
	case Stat:
		o["options"] = object{"colorMode": "background", "graphMode": "none", "textMode": "value_and_name", "reduceOptions": object{"calcs": []string{"lastNotNull"}}}
	case Gauge:
		o["options"] = object{"displayMode": "gradient", "orientation": "horizontal", "reduceOptions": object{"calcs": []string{"lastNotNull"}}}
	case Series:
		custom := object{"fillOpacity": 10, "showPoints": "never"}
		if p.Warn != 0 || p.Critical != 0 {
			custom["thresholdsStyle"] = object{"mode": "dashed"}
		}
		defaults["custom"] = custom
		o["options"] = object{"legend": object{"displayMode": "table", "placement": "bottom", "calcs": []string{"lastNotNull"}}, "tooltip": object{"mode": "multi", "sort": "desc"}}
	case Table:
		o["transformations"] = p.columns()
		o["options"] = object{"showHeader": true, "sortBy": []object{{"displayName": p.Queries[0].Legend, "desc": true}}}
		overrides = p.overrides()
	}
	o["fieldConfig"] = object{"defaults": defaults, "overrides": overrides}
	return o
}

// thresholds colour a value green, orange or red.
func (p Panel) thresholds() object {
	steps := []object{{"color": "green", "value": nil}}
	switch {
	case p.Warn == 0 && p.Critical == 0:
	case p.Critical < p.Warn: // little is bad
		steps = []object{{"color": "red", "value": nil}, {"color": "orange", "value": p.Critical}, {"color": "green", "value": p.Warn}}
	default:
		steps = append(steps, object{"color": "orange", "value": p.Warn}, object{"color": "red", "value": p.Critical})
	}
	return object{"mode": "absolute", "steps": steps}
}

func (p Panel) targets() (all []object) {
	for i, q := range p.Queries {
		target := object{"refId": string(rune('A' + i)), "expr": q.Expr, "datasource": datasource}
		switch p.Kind {
		case Table:
			target["format"], target["instant"] = "table", true
		case Series:
			target["legendFormat"] = q.Legend
		default:
			target["legendFormat"], target["instant"] = q.Legend, true
		}
		all = append(all, target)
	}
	return all
}

// column is the name that Grafana gives to the values of the query.
func (p Panel) column(i int) string {
	if len(p.Queries) == 1 {
		return "Value"
	}
	return "Value #" + string(rune('A'+i))
}

// columns joins the queries by their labels, and names the columns.
func (p Panel) columns() []object {
	names := object{}
	for i, q := range p.Queries {
		names[p.column(i)] = q.Legend
	}
	return []object{
		{"id": "merge", "options": object{}},
		{"id": "organize", "options": object{"excludeByName": object{"Time": true}, "renameByName": names}},
	}
}

// overrides give each column its unit, an alert a link to its runbook, and a node or a
// namespace one to its dashboard.
func (p Panel) overrides() []object {
	all := []object{}
	by := func(column, id string, value any) {
		all = append(all, object{"matcher": object{"id": "byName", "options": column}, "properties": []object{{"id": id, "value": value}}})
	}
	for _, q := range p.Queries {
		if q.Unit != "" {
			by(q.Legend, "unit", q.Unit)
		}
	}
	for _, l := range [][3]string{
		{"alertname", "the runbook", runbooks + "${__value.text}.md"},
		{"node", "the node", "/d/nodetune-node?var-node=${__value.text}&${cluster:queryparam}"},
		{"namespace", "the workloads", "/d/nodetune-workload?var-namespace=${__value.text}&${cluster:queryparam}"},
	} {
		if strings.Contains(p.Queries[0].Expr, l[0]) { // a column of the table
			by(l[0], "links", []object{{"title": l[1], "url": l[2]}})
		}
	}
	return all
}
