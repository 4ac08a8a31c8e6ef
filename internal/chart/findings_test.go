package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"secbot/remediation"
)

// TestBars: the picture is well formed, without a background, names everything, and
// is the same each time.
func TestBars(t *testing.T) {
	bars := []Bar{
		{"Public <ACL> & more", map[remediation.Severity]int{remediation.SeverityCritical: 2, remediation.SeverityHigh: 1}},
		{"Rule added", map[remediation.Severity]int{remediation.SeverityLow: 7}},
	}
	var pictures [][]byte
	for _, dark := range []bool{false, true} {
		svg, err := Bars(bars, dark)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Bars(bars, dark); err != nil || !bytes.Equal(svg, again) {
			t.Errorf("another picture of the same: %v", err)
		}
		words := ""
		for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch token := token.(type) {
			case xml.CharData:
				words += string(token) + "\n"
			case xml.StartElement:
				if token.Name.Local == "script" || token.Name.Local == "ACL" {
					t.Errorf("the picture has an element %s", token.Name.Local)
				}
			}
		}
		for _, want := range []string{"Rule added", "Public <ACL> & more", "critical", "high", "medium", "low"} {
			if !strings.Contains(words, want) {
				t.Errorf("%q is missing", want)
			}
		}
		pictures = append(pictures, svg)
	}
	if bytes.Equal(pictures[0], pictures[1]) {
		t.Error("dark is light")
	}
	less, err := Bars(bars[:1], false)
	if err != nil || bytes.Equal(less, pictures[0]) {
		t.Errorf("the picture does not follow the numbers: %v", err)
	}
}
