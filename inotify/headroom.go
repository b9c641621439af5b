package inotify

// Headroom is what a canary found: how many more instances the kernel grants
// to a user now.
type Headroom struct {
	Granted int `json:"granted"`
	// Exact is false where all that were asked for were granted: there may
	// be more.
	Exact bool `json:"exact"`
}
