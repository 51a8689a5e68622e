// An S3 server that keeps nothing: what is measured against it is the client's cost alone.
//
// Without TLS a body is dropped in the kernel (recv with MSG_TRUNC) and never copied. What it remembers of an object is
// its size, ETag and CRC32C, for HEAD. Signatures are not looked at. `GET /-/counts` tells what arrived, so that a
// client which sent less than it should is found out; `POST /-/forget` begins anew.
//
//	nullserver LISTEN [CERTIFICATE KEY]
package main

import (
	"bufio"
	"crypto/md5"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const (
	etagOfNothing  = "0-1" // no MD5, and doesn't look like one
	blockBytes     = 1 << 20
	emptyListing   = `<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>`
	emptyMultipart = `<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>`
	date           = "Sat, 01 Jan 2000 00:00:00 GMT"
)

type object struct {
	size   int64
	etag   string
	crc32c string
	mtime  string
}

type upload struct {
	mutex sync.Mutex
	parts map[int]object
	mtime string
}

type counts struct {
	Put, Post, Head, Get, Delete, Connections, Objects, ObjectBytes int64
}

var (
	counted counts
	objects sync.Map // path → object
	uploads sync.Map // id → *upload
	lastID  atomic.Int64
)

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var config *tls.Config
	if len(os.Args) == 4 {
		certificate, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
		if err != nil {
			log.Fatal(err)
		}
		config = &tls.Config{Certificates: []tls.Certificate{certificate}}
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		atomic.AddInt64(&counted.Connections, 1)
		go serve(connection.(*net.TCPConn), config)
	}
}

type exchange struct {
	reader  *bufio.Reader
	writer  io.Writer
	plain   syscall.RawConn // nil with TLS
	method  string
	path    string
	query   url.Values
	headers map[string]string
	size    int64
}

func serve(connection *net.TCPConn, config *tls.Config) {
	defer connection.Close()
	x := &exchange{reader: bufio.NewReaderSize(connection, 16<<10), writer: connection}
	if config == nil {
		x.plain, _ = connection.SyscallConn()
	} else {
		encrypted := tls.Server(connection, config)
		x.reader, x.writer = bufio.NewReaderSize(encrypted, 64<<10), encrypted
	}
	for x.readHead() == nil {
		if x.headers["expect"] != "" {
			io.WriteString(x.writer, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		body, err := x.readBody()
		if err != nil {
			return
		}
		if _, err := io.WriteString(x.writer, x.answer(body)); err != nil {
			return
		}
	}
}

func (x *exchange) readLine() (string, error) {
	line, err := x.reader.ReadSlice('\n')
	return strings.TrimRight(string(line), "\r\n"), err
}

func (x *exchange) readHead() error {
	first, err := x.readLine()
	if err != nil {
		return err
	}
	words := strings.Split(first, " ")
	if len(words) != 3 {
		return fmt.Errorf("no request: %q", first)
	}
	x.method = words[0]
	target, query, _ := strings.Cut(words[1], "?")
	x.path, x.query = target, nil
	if query != "" {
		x.query, _ = url.ParseQuery(query)
	}
	x.headers = make(map[string]string, 16)
	for {
		line, err := x.readLine()
		if err != nil || line == "" {
			return err
		}
		name, value, _ := strings.Cut(line, ":")
		x.headers[strings.ToLower(name)] = strings.TrimSpace(value)
	}
}

// readBody drops a body and sets x.size to what the object has of it. Bodies of documents are small and returned.
func (x *exchange) readBody() ([]byte, error) {
	length, _ := strconv.ParseInt(x.headers["content-length"], 10, 64)
	if strings.EqualFold(x.headers["transfer-encoding"], "chunked") {
		length = 0
		for {
			line, err := x.readLine()
			if err != nil {
				return nil, err
			}
			chunk, err := strconv.ParseInt(strings.Split(line, ";")[0], 16, 64)
			if err != nil {
				return nil, err
			}
			if chunk == 0 {
				for line != "" && err == nil {
					line, err = x.readLine()
				}
				break
			}
			if err := x.drop(chunk + 2); err != nil {
				return nil, err
			}
			length += chunk
		}
	} else if x.method == "POST" {
		document := make([]byte, length)
		_, err := io.ReadFull(x.reader, document)
		return document, err
	} else if err := x.drop(length); err != nil {
		return nil, err
	}
	x.size = length
	if decoded, err := strconv.ParseInt(x.headers["x-amz-decoded-content-length"], 10, 64); err == nil {
		x.size = decoded
	}
	return nil, nil
}

func (x *exchange) drop(left int64) error {
	buffered := min(left, int64(x.reader.Buffered()))
	x.reader.Discard(int(buffered))
	left -= buffered
	if x.plain == nil {
		_, err := io.CopyN(io.Discard, x.reader, left)
		return err
	}
	var failed error
	for left > 0 && failed == nil {
		err := x.plain.Read(func(descriptor uintptr) bool {
			// The kernel drops up to so many bytes and writes none of them to the address.
			var nowhere byte
			count, _, code := syscall.Syscall6(syscall.SYS_RECVFROM, descriptor, uintptr(unsafe.Pointer(&nowhere)),
				uintptr(min(left, blockBytes)), syscall.MSG_TRUNC, 0, 0)
			switch {
			case code == syscall.EAGAIN:
				return false
			case code == syscall.EINTR:
				return true
			case code != 0:
				failed = code
			case count == 0:
				failed = io.ErrUnexpectedEOF
			default:
				left -= int64(count)
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return failed
}

func (x *exchange) answer(body []byte) string {
	switch x.method {
	case "PUT":
		atomic.AddInt64(&counted.Put, 1)
		return x.put()
	case "POST":
		return x.post(body)
	case "HEAD":
		atomic.AddInt64(&counted.Head, 1)
		return x.head()
	case "DELETE":
		atomic.AddInt64(&counted.Delete, 1)
		return response("204 No Content", nil, "")
	default:
		return x.get()
	}
}

func (x *exchange) put() string {
	if strings.Count(strings.Trim(x.path, "/"), "/") == 0 {
		return response("200 OK", nil, "") // a bucket
	}
	arrived := object{size: x.size, etag: etagOfNothing, crc32c: x.headers["x-amz-checksum-crc32c"]}
	arrived.mtime = x.headers["x-amz-meta-mtime"]
	if sum, err := base64.StdEncoding.DecodeString(x.headers["content-md5"]); err == nil && len(sum) == md5.Size {
		arrived.etag = hex.EncodeToString(sum)
	}
	if id := x.query.Get("uploadId"); id != "" {
		found, ok := uploads.Load(id)
		number, err := strconv.Atoi(x.query.Get("partNumber"))
		if !ok || err != nil {
			return refusal("404 Not Found", "NoSuchUpload")
		}
		mine := found.(*upload)
		mine.mutex.Lock()
		mine.parts[number] = arrived
		mine.mutex.Unlock()
	} else {
		objects.Store(x.path, arrived)
	}
	headers := []string{"ETag", quoted(arrived.etag)}
	if arrived.crc32c != "" {
		headers = append(headers, "x-amz-checksum-crc32c", arrived.crc32c)
	}
	return response("200 OK", headers, "")
}

func (x *exchange) post(body []byte) string {
	if x.path == "/-/forget" {
		objects.Clear()
		uploads.Clear()
		counted = counts{}
		return response("200 OK", nil, "")
	}
	atomic.AddInt64(&counted.Post, 1)
	if x.query.Has("uploads") {
		id := strconv.FormatInt(lastID.Add(1), 10)
		uploads.Store(id, &upload{parts: map[int]object{}, mtime: x.headers["x-amz-meta-mtime"]})
		return response("200 OK", nil, "<InitiateMultipartUploadResult><UploadId>"+id+"</UploadId></InitiateMultipartUploadResult>")
	}
	found, ok := uploads.LoadAndDelete(x.query.Get("uploadId"))
	if !ok {
		return refusal("404 Not Found", "NoSuchUpload")
	}
	whole := assembled(found.(*upload))
	whole.crc32c = x.headers["x-amz-checksum-crc32c"]
	objects.Store(x.path, whole)
	checksum := ""
	if whole.crc32c != "" {
		checksum = "<ChecksumCRC32C>" + whole.crc32c + "</ChecksumCRC32C><ChecksumType>FULL_OBJECT</ChecksumType>"
	}
	return response("200 OK", nil, "<CompleteMultipartUploadResult><ETag>"+quoted(whole.etag)+"</ETag>"+checksum+"</CompleteMultipartUploadResult>")
}

func assembled(from *upload) object {
	numbers := make([]int, 0, len(from.parts))
	for number := range from.parts {
		numbers = append(numbers, number)
	}
	sort.Ints(numbers)
	whole, sums := object{mtime: from.mtime}, md5.New()
	for _, number := range numbers {
		part := from.parts[number]
		whole.size += part.size
		sum, _ := hex.DecodeString(part.etag)
		sums.Write(sum)
	}
	whole.etag = fmt.Sprintf("%x-%d", sums.Sum(nil), len(numbers))
	return whole
}

func (x *exchange) head() string {
	if strings.Count(strings.Trim(x.path, "/"), "/") == 0 {
		return response("200 OK", nil, "")
	}
	found, ok := objects.Load(x.path)
	if !ok {
		return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
	}
	there := found.(object)
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: %s\r\nLast-Modified: %s\r\n", there.size, quoted(there.etag), date)
	if there.crc32c != "" {
		head += "x-amz-checksum-crc32c: " + there.crc32c + "\r\nx-amz-checksum-type: FULL_OBJECT\r\n"
	}
	if there.mtime != "" {
		head += "x-amz-meta-mtime: " + there.mtime + "\r\n"
	}
	return head + "\r\n"
}

func (x *exchange) get() string {
	if x.path == "/-/counts" {
		now := counted
		objects.Range(func(_, value any) bool {
			now.Objects++
			now.ObjectBytes += value.(object).size
			return true
		})
		document, _ := json.Marshal(now)
		return response("200 OK", nil, string(document))
	}
	atomic.AddInt64(&counted.Get, 1)
	switch {
	case x.query.Has("uploads"):
		return response("200 OK", nil, emptyMultipart)
	case x.query.Has("location"):
		return response("200 OK", nil, "<LocationConstraint></LocationConstraint>")
	case strings.Count(strings.Trim(x.path, "/"), "/") == 0:
		return response("200 OK", nil, emptyListing)
	}
	return refusal("404 Not Found", "NoSuchKey")
}

func quoted(text string) string { return `"` + text + `"` }

func refusal(status, code string) string {
	return response(status, nil, "<Error><Code>"+code+"</Code></Error>")
}

func response(status string, headers []string, body string) string {
	var text strings.Builder
	text.WriteString("HTTP/1.1 " + status + "\r\nDate: " + date + "\r\nx-amz-request-id: 1\r\n")
	for index := 0; index < len(headers); index += 2 {
		text.WriteString(headers[index] + ": " + headers[index+1] + "\r\n")
	}
	if body != "" {
		text.WriteString("Content-Type: application/xml\r\n")
	}
	text.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	return text.String()
}
