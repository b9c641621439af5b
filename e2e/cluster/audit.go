package cluster

import (
	"bufio"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// auditPolicy notes what service accounts of one namespace ask for.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts:nodetune"]
    omitStages: [RequestReceived]
  - level: None
`

// A Request is one request to the API server, from its audit log.
type Request struct {
	User      string
	Verb      string
	Resource  string // with its subresource; a path where there is none
	Namespace string
	Name      string
	DryRun    bool // dryRun=All: the API server stores nothing
	Code      int  // the HTTP status of the answer
	// Refused says that there is no right to it. An API server that starts serves
	// before it has read the roles, and refuses what there is a right to: that is
	// left out.
	Refused bool
}

// Requests returns what the service accounts of the namespace nodetune have
// asked for so far, in order. A watch that has ended is there twice.
func (a *API) Requests() ([]Request, error) {
	f, err := os.Open(filepath.Join(a.dir, "audit.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var all []Request
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Verb, RequestURI string
			User             struct{ Username string }
			ObjectRef        *struct{ Resource, Subresource, Namespace, Name string }
			ResponseStatus   struct{ Code int }
			Annotations      map[string]string
			At               time.Time `json:"requestReceivedTimestamp"`
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		r := Request{User: e.User.Username, Verb: e.Verb, Resource: e.RequestURI, Code: e.ResponseStatus.Code}
		if u, err := url.Parse(e.RequestURI); err == nil {
			r.DryRun = u.Query().Get("dryRun") == "All"
		}
		if o := e.ObjectRef; o != nil {
			r.Resource, r.Namespace, r.Name = o.Resource, o.Namespace, o.Name
			if o.Subresource != "" {
				r.Resource += "/" + o.Subresource
			}
		}
		r.Refused = e.Annotations["authorization.k8s.io/decision"] == "forbid" && !a.Server.starting(e.At)
		all = append(all, r)
	}
	return all, lines.Err()
}
