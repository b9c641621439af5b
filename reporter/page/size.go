package page

import (
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
)

// size bounds what is shown of a Status: acts, rows of every other list, and
// bytes of each text in HTML.
type size struct{ acts, rows, text int }

var (
	stateType   = reflect.TypeFor[State]()
	timeType    = reflect.TypeFor[time.Time]()
	troubleList = reflect.TypeFor[List[Trouble]]()
	actList     = reflect.TypeFor[List[reporter.Act]]()
)

// minTroubleText keeps what is wrong whole, where other texts give way.
const minTroubleText = maxText

// of returns a copy of s within z, whose texts are safe to show. A Status may be
// from a file that anybody has written, so this trusts none of it.
func (z size) of(s Status) Status {
	v := reflect.New(reflect.TypeFor[Status]()).Elem()
	v.Set(reflect.ValueOf(s))
	z.bound(v)
	return v.Interface().(Status)
}

// bound replaces what v refers to by bounded copies.
func (z size) bound(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(z.safe(v.String()))
		if _, ok := rank[State(v.String())]; v.Type() == stateType && !ok {
			v.SetString(string(Unknown)) // it becomes a class
		}
	case reflect.Pointer:
		if !v.IsNil() {
			p := reflect.New(v.Type().Elem())
			p.Elem().Set(v.Elem())
			z.bound(p.Elem())
			v.Set(p)
		}
	case reflect.Slice:
		n := min(v.Len(), z.rows)
		all := reflect.MakeSlice(v.Type(), n, n)
		reflect.Copy(all, v)
		for i := range n {
			z.bound(all.Index(i))
		}
		v.Set(all)
	case reflect.Struct:
		if v.Type() == timeType {
			return
		}
		inner := z
		switch v.Type() {
		case actList:
			inner.rows = z.acts
		case troubleList:
			inner.text = max(z.text, minTroubleText)
		}
		if rows, more := v.FieldByName("Rows"), v.FieldByName("More"); rows.IsValid() && more.IsValid() {
			more.SetInt(max(0, more.Int()) + int64(max(0, rows.Len()-inner.rows)))
		}
		for i := range v.NumField() {
			inner.bound(v.Field(i))
		}
	}
}

// safe returns s fit to be seen, with at most z.text bytes of HTML.
func (z size) safe(s string) string {
	if len(s) > z.text {
		s = s[:z.text+1] // safetext makes nothing shorter
	}
	s = safetext.String(s)
	const dots = "…"
	room, fits := z.text, 0 // fits: with the dots
	for i, r := range s {
		room -= htmlBytes(r)
		if room < 0 {
			return s[:fits] + dots
		}
		if room >= len(dots) {
			fits = i + utf8.RuneLen(r)
		}
	}
	return s
}

// htmlBytes is how many bytes html/template makes of r.
func htmlBytes(r rune) int {
	switch r {
	case '<', '>':
		return len("&lt;")
	case '&', '"', '\'', '+':
		return len("&#34;")
	case '`', '=':
		return len("&#96;")
	}
	return utf8.RuneLen(r)
}
