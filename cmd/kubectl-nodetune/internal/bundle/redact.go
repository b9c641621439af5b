package bundle

import (
	"bytes"
	"encoding/json"
	"regexp"
)

const redacted = "REDACTED"

// secretText matches what looks like a secret in text, with its replacement.
var secretText = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`), redacted},
	{regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*`), redacted},
	{regexp.MustCompile(`(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}`), "${1}${2}" + redacted},
	{regexp.MustCompile(`(://[^/\s:@"]*):[^/\s@"]+@`), "${1}:" + redacted + "@"},
	{regexp.MustCompile(`\b(?:AKIA|ASIA)[0-9A-Z]{16}\b`), redacted},
	{regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{20,}`), redacted},
	{regexp.MustCompile(`\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}`), redacted}, // bcrypt
	{regexp.MustCompile(`(?i)((?:password|passwd|token|secret|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)\\?["']?\s*[:=]\s*\\?["']?)[^\s"'\\,;&{}\[\]]+`), "${1}" + redacted},
}

// Text returns b without what looks like a secret.
func Text(b []byte) []byte {
	for _, s := range secretText {
		b = s.re.ReplaceAll(b, []byte(s.to))
	}
	return b
}

// secretKey matches a field of JSON whose strings are secrets.
var secretKey = regexp.MustCompile(`(?i)(password|passwd|token|secret|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|authorization)$`)

// JSON returns the document b without what looks like a secret. What is no JSON is
// text.
func JSON(b []byte) []byte {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var doc any
	if dec.Decode(&doc) != nil || dec.More() {
		return Text(b)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	if enc.Encode(clean(doc, false)) != nil {
		return Text(b)
	}
	return out.Bytes()
}

func clean(v any, secret bool) any {
	switch x := v.(type) {
	case string:
		if secret && x != "" {
			return redacted
		}
		return string(Text([]byte(x)))
	case []any:
		for i := range x {
			x[i] = clean(x[i], secret)
		}
	case map[string]any:
		for k := range x {
			x[k] = clean(x[k], secretKey.MatchString(k))
		}
	}
	return v
}
