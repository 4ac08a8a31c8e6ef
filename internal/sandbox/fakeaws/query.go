package fakeaws

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
)

// node is a form of AWS's query protocols as a tree: "Filter.1.Name=x" is
// at("Filter").items()[0].text("Name").
type node struct {
	value string
	set   bool
	kids  map[string]*node
}

// maxDepth bounds how deep a form's keys may nest.
const maxDepth = 12

func parseForm(body []byte) (*node, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, failure(http.StatusBadRequest, "MalformedQueryString", "The query string could not be parsed.")
	}
	root := &node{}
	for key, v := range values {
		parts := strings.Split(key, ".")
		if len(parts) > maxDepth {
			return nil, failure(http.StatusBadRequest, "MalformedQueryString", "A key nests too deep.")
		}
		n := root
		for _, p := range parts {
			n = n.grow(p)
		}
		n.value, n.set = v[0], true
	}
	return root, nil
}

func (n *node) grow(name string) *node {
	if n.kids == nil {
		n.kids = map[string]*node{}
	}
	kid := n.kids[name]
	if kid == nil {
		kid = &node{}
		n.kids[name] = kid
	}
	return kid
}

// at gives the node below, an empty one where there is none.
func (n *node) at(name string) *node {
	if kid := n.kids[name]; kid != nil {
		return kid
	}
	return &node{}
}

// has reports whether there is anything of that name.
func (n *node) has(name string) bool { return n.kids[name] != nil }

// text gives the value below, empty where there is none.
func (n *node) text(name string) string { return n.at(name).value }

// items gives the numbered nodes below, in their order.
func (n *node) items() []*node {
	var numbers []int
	for name := range n.kids {
		if i, err := strconv.Atoi(name); err == nil {
			numbers = append(numbers, i)
		}
	}
	sort.Ints(numbers)
	list := make([]*node, 0, len(numbers))
	for _, i := range numbers {
		if kid := n.kids[strconv.Itoa(i)]; kid != nil {
			list = append(list, kid)
		}
	}
	return list
}

// texts gives the values of the numbered nodes below.
func (n *node) texts() []string {
	var list []string
	for _, i := range n.items() {
		list = append(list, i.value)
	}
	return list
}

// int32 gives the number below; nil where there is none, an error where it is
// no number.
func (n *node) int32(name string) (*int32, error) {
	s := n.text(name)
	if s == "" {
		return nil, nil
	}
	i, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return nil, failure(http.StatusBadRequest, "InvalidParameterValue", "Value ("+s+") for parameter "+name+" is invalid. Expected a number.")
	}
	v := int32(i)
	return &v, nil
}

// number gives the value below for an event: a number where it is one.
func (n *node) number(name string) any {
	if i, err := strconv.ParseInt(n.text(name), 10, 64); err == nil {
		return i
	}
	return n.text(name)
}

// queryOperation finds the operation of a query request by its Action.
func queryOperation(x *exchange, ops map[string]*operation) (string, *operation) {
	form, err := parseForm(x.body)
	if err != nil {
		form = &node{}
	}
	x.form = form
	name := form.text("Action")
	return name, ops[name]
}

// writeXML answers with v as the element name.
func writeXML(x *exchange, status int, name, xmlns string, v any) {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	start := xml.StartElement{Name: xml.Name{Local: name}}
	if xmlns != "" {
		start.Attr = []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: xmlns}}
	}
	if err := xml.NewEncoder(&b).EncodeElement(v, start); err != nil {
		http.Error(x.w, "the answer could not be written", http.StatusInternalServerError)
		return
	}
	x.w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	x.w.WriteHeader(status)
	_, _ = x.w.Write(b.Bytes()) // the client has gone: nobody to tell
}

// awsQuery is the protocol of SNS and STS, around their results.
type awsQueryReply struct {
	Result   any `xml:",omitempty"`
	Metadata struct {
		RequestID string `xml:"RequestId"`
	} `xml:"ResponseMetadata"`
}

// MarshalXML names the result after the operation, as the protocol wants.
func (r awsQueryReply) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	if r.Result != nil {
		name := strings.TrimSuffix(start.Name.Local, "Response") + "Result"
		if err := e.EncodeElement(r.Result, xml.StartElement{Name: xml.Name{Local: name}}); err != nil {
			return err
		}
	}
	if err := e.EncodeElement(r.Metadata, xml.StartElement{Name: xml.Name{Local: "ResponseMetadata"}}); err != nil {
		return err
	}
	return e.EncodeToken(start.End())
}

// writeQuery gives the writer of a service of the awsQuery protocol.
func writeQuery(xmlns string) func(*exchange, any) {
	return func(x *exchange, body any) {
		reply := awsQueryReply{Result: body}
		reply.Metadata.RequestID = x.RequestID
		x.w.Header().Set("x-amzn-RequestId", x.RequestID)
		writeXML(x, http.StatusOK, x.Action+"Response", xmlns, reply)
	}
}

type queryFault struct {
	Type    string
	Code    string
	Message string
}

func failQuery(xmlns string) func(*exchange, *Error) {
	return func(x *exchange, err *Error) {
		x.w.Header().Set("x-amzn-RequestId", x.RequestID)
		writeXML(x, err.Status, "ErrorResponse", xmlns, struct {
			Error     queryFault
			RequestID string `xml:"RequestId"`
		}{queryFault{"Sender", err.Code, err.Message}, x.RequestID})
	}
}
