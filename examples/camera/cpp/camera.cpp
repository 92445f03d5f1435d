// A camera program for Cordon: everything docs/frames.md asks for, around one function `expose` that your sensor has to fill.
// Needs libzmq 4.2 or later and nothing else. Publishes on request (ZeroMQ PULL, JSON) or at a rate; options at the end of the file.

#include <zmq.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "payloads are little-endian: swap u2 and f4 values on this machine");

using Clock = std::chrono::steady_clock;
using Bytes = std::vector<std::uint8_t>;
using namespace std::chrono_literals;

// At most a quarter of `heartbeat_ms` in the box's configuration, which is 2 s unless set.
constexpr auto kAlive = 500ms;

struct Image {
    int rows = 0, cols = 0;
    Bytes values;  // rows x cols, row by row; u1: brighter is higher, 0 is no data
};

// Put your sensor here: one scan. What stands here makes a flat surface with noise, so that no two scans are equal: the box takes
// equal ones for a frozen camera. For u2 or f4 values copy their bytes and change `kind` and `dtype` in `header`.
Image expose(int rows, int cols, int level) {
    static std::mt19937 dice{std::random_device{}()};
    std::uniform_int_distribution<int> noise(-3, 3);
    Image image{rows, cols, Bytes(static_cast<std::size_t>(rows) * cols)};
    for (auto& value : image.values) value = static_cast<std::uint8_t>(std::clamp(level + noise(dice), 1, 255));
    return image;
}

// CRC-32 as in zlib and Ethernet.
std::uint32_t crc32(const Bytes& data) {
    static const auto table = [] {
        std::array<std::uint32_t, 256> made{};
        for (std::uint32_t n = 0; n < 256; ++n) {
            std::uint32_t c = n;
            for (int bit = 0; bit < 8; ++bit) c = (c & 1) ? (c >> 1) ^ 0xEDB88320u : c >> 1;
            made[n] = c;
        }
        return made;
    }();
    std::uint32_t c = 0xFFFFFFFFu;
    for (auto byte : data) c = table[(c ^ byte) & 0xFF] ^ (c >> 8);
    return c ^ 0xFFFFFFFFu;
}

struct Request {
    std::string session;  // empty: no robot triggered this exposure
    long sequence = 0;
    std::string part, weld, typology;
};

// Names are 1 to 24 of A-Z a-z 0-9 . _ - and begin with a letter or digit: no escapes are ever needed in the JSON.
bool is_name(const std::string& text) {
    static const std::string first = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    return !text.empty() && text.size() <= 24 && first.find(text[0]) != std::string::npos &&
           text.find_first_not_of(first + "._-") == std::string::npos;
}

// The text of a string or number of a flat JSON object; empty for null or when it is missing.
std::string field(const std::string& json, const std::string& key) {
    auto at = json.find('"' + key + '"');
    if (at == std::string::npos) return "";
    at = json.find_first_not_of(" :", at + key.size() + 2);
    if (at == std::string::npos || json.compare(at, 4, "null") == 0) return "";
    if (json[at] == '"') return json.substr(at + 1, json.find('"', at + 1) - at - 1);
    return json.substr(at, json.find_first_of(",} ", at) - at);
}

bool read_request(const std::string& json, Request& request) {
    request = {field(json, "session"), std::atol(field(json, "sequence").c_str()), field(json, "part"), field(json, "weld"),
               field(json, "typology")};
    bool bound = request.session.empty() ||
                 (request.session.size() == 16 && request.session.find_first_not_of("0123456789abcdef") == std::string::npos &&
                  request.sequence >= 1 && request.sequence <= 65535);
    return bound && is_name(request.part) && is_name(request.weld) && (request.typology.empty() || is_name(request.typology));
}

void check(int result, const char* what) {
    if (result < 0) throw std::runtime_error(std::string(what) + ": " + zmq_strerror(zmq_errno()));
}

class Camera {
public:
    // XPUB is a PUB that tells who subscribes, so that the box learns at once that the camera lives.
    Camera(void* context, std::string name) : name_(std::move(name)), socket_(zmq_socket(context, ZMQ_XPUB)) {
        set(ZMQ_SNDHWM, 16);  // old frames are worth nothing: their triggers are over
        set(ZMQ_LINGER, 500);
        set(ZMQ_HEARTBEAT_IVL, 1000);  // a box that lost power is noticed
        set(ZMQ_HEARTBEAT_TIMEOUT, 3000);
        set(ZMQ_HANDSHAKE_IVL, 3000);
        set(ZMQ_RECONNECT_IVL, 100);
        set(ZMQ_RECONNECT_IVL_MAX, 1000);
        std::int64_t most = 1024;  // subscriptions are short
        check(zmq_setsockopt(socket_, ZMQ_MAXMSGSIZE, &most, sizeof most), "a socket option");
    }
    ~Camera() { zmq_close(socket_); }
    Camera(const Camera&) = delete;
    Camera& operator=(const Camera&) = delete;

    // CURVE (docs/camera-security.md): `secret` is this camera's private key. Bound, only the box of `box` may listen, if given.
    void prove(const std::string& secret, const std::string& box, bool connect) {
        char own_public[41];
        check(zmq_curve_public(own_public, secret.c_str()), "the camera's key");
        check(zmq_setsockopt(socket_, ZMQ_CURVE_SECRETKEY, secret.c_str(), 41), "the camera's key");
        check(zmq_setsockopt(socket_, ZMQ_CURVE_PUBLICKEY, own_public, 41), "the camera's key");
        if (connect) {
            check(zmq_setsockopt(socket_, ZMQ_CURVE_SERVERKEY, box.c_str(), 41), "the box's key");
            return;
        }
        set(ZMQ_CURVE_SERVER, 1);
        if (box.empty()) return;
        check(zmq_setsockopt(socket_, ZMQ_ZAP_DOMAIN, "camera", 6), "ZAP");
    }

    void open(const std::string& endpoint, bool connect) {
        check(connect ? zmq_connect(socket_, endpoint.c_str()) : zmq_bind(socket_, endpoint.c_str()), endpoint.c_str());
    }

    // Say that the camera lives: when somebody subscribes, and while no frame leaves. The counter is that of the last frame.
    void mind() {
        char event[256];
        int size;
        while ((size = zmq_recv(socket_, event, sizeof event, ZMQ_DONTWAIT)) > 0)
            if (event[0] == 1) alive_due_ = Clock::now();
        if (Clock::now() >= alive_due_) send("alive", {}, {}, 0);
    }

    // A scan for the weld that was asked for; session and sequence exactly as the robot gave them for this exposure.
    void frame(const Image& image, const Request& request) {
        ++counter_;
        send("heightmap", image, request, crc32(image.values));
    }

    long long counter() const { return counter_; }

private:
    void set(int option, int value) { check(zmq_setsockopt(socket_, option, &value, sizeof value), "a socket option"); }

    std::string header(const char* kind, const Image& image, const Request& request, std::uint32_t crc) const {
        auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
        std::string trigger = "null";
        if (!request.session.empty())
            trigger = "{\"session\":\"" + request.session + "\",\"sequence\":" + std::to_string(request.sequence) + "}";
        std::string typology = request.typology.empty() ? "null" : '"' + request.typology + '"';
        return std::string("{\"version\":1,\"camera\":\"") + name_ + "\",\"counter\":" + std::to_string(counter_) +
               ",\"trigger\":" + trigger + ",\"part\":\"" + request.part + "\",\"weld\":\"" + request.weld +
               "\",\"typology\":" + typology + ",\"kind\":\"" + kind + "\",\"shape\":[" + std::to_string(image.rows) + "," +
               std::to_string(image.cols) + "],\"dtype\":\"u1\",\"pitch_mm\":[0.2,0.2],\"z_scale_mm\":1.0,\"z_offset_mm\":0.0" +
               ",\"no_data\":0,\"captured_ns\":" + std::to_string(now) + ",\"crc32\":" + std::to_string(crc) + "}";
    }

    // Three parts: topic, header, payload.
    void send(const char* kind, const Image& image, const Request& request, std::uint32_t crc) {
        auto text = header(kind, image, request, crc);
        check(zmq_send(socket_, name_.data(), name_.size(), ZMQ_SNDMORE), "send");
        check(zmq_send(socket_, text.data(), text.size(), ZMQ_SNDMORE), "send");
        check(zmq_send(socket_, image.values.data(), image.values.size(), 0), "send");
        alive_due_ = Clock::now() + kAlive;
    }

    std::string name_;
    void* socket_;
    long long counter_ = 0;
    Clock::time_point alive_due_{};
};

// ZAP (ZeroMQ RFC 27): ZeroMQ asks here for each box that wants to listen. Runs until the context ends.
void guard(void* asked, std::string box) {
    std::vector<std::string> frames;
    for (;;) {
        frames.clear();
        int more = 1;
        while (more) {
            char data[256];
            int size = zmq_recv(asked, data, sizeof data, 0);
            if (size < 0) {
                zmq_close(asked);
                return;
            }
            frames.emplace_back(data, std::min<std::size_t>(size, sizeof data));
            std::size_t width = sizeof more;
            zmq_getsockopt(asked, ZMQ_RCVMORE, &more, &width);
        }
        // version, request, domain, address, identity, mechanism, the box's public key (32 bytes)
        bool known = frames.size() == 7 && frames[5] == "CURVE" && frames[6].size() == 32;
        char key[41] = "";
        if (known) zmq_z85_encode(key, reinterpret_cast<const std::uint8_t*>(frames[6].data()), 32);
        known = known && box == key;
        const std::string request = frames.size() > 1 ? frames[1] : "";
        const std::string answer[] = {"1.0", request, known ? "200" : "400", known ? "OK" : "unknown key", "", ""};
        for (int i = 0; i < 6; ++i) zmq_send(asked, answer[i].data(), answer[i].size(), i < 5 ? ZMQ_SNDMORE : 0);
    }
}

// Before the first socket of the context is opened: whoever comes earlier would be let in unasked.
void begin_guard(void* context, const std::string& box) {
    void* asked = zmq_socket(context, ZMQ_REP);
    check(zmq_bind(asked, "inproc://zeromq.zap.01"), "ZAP");
    std::thread(guard, asked, box).detach();
}

std::string read_key(const std::string& path) {
    std::ifstream file(path);
    std::string key;
    if (!(file >> key) || key.size() != 40) throw std::runtime_error(path + " holds no key of 40 characters");
    return key;
}

// --name value pairs, and --connect by itself.
std::map<std::string, std::string> options(int count, char** words) {
    std::map<std::string, std::string> given{{"endpoint", "tcp://*:5555"}, {"name", "cam0"}, {"requests", ""}, {"rate", "2"},
                                             {"part", "P1"}, {"weld", "W1"}, {"rows", "128"}, {"cols", "352"}, {"level", "100"},
                                             {"key", ""}, {"box-key", ""}, {"connect", ""}};
    for (int i = 1; i < count; ++i) {
        std::string word = words[i];
        if (word.rfind("--", 0) != 0 || !given.count(word.substr(2))) throw std::runtime_error("unknown option " + word);
        if (word == "--connect")
            given["connect"] = "yes";
        else if (++i < count)
            given[word.substr(2)] = words[i];
        else
            throw std::runtime_error(word + " needs a value");
    }
    return given;
}

void serve(std::map<std::string, std::string> given) {
    void* context = zmq_ctx_new();
    bool connect = !given["connect"].empty();
    std::string box = given["box-key"].empty() ? "" : read_key(given["box-key"]);
    if (!box.empty() && !connect) begin_guard(context, box);
    Camera camera(context, given["name"]);
    if (!given["key"].empty()) camera.prove(read_key(given["key"]), box, connect);
    camera.open(given["endpoint"], connect);
    void* requests = zmq_socket(context, ZMQ_PULL);
    bool on_request = !given["requests"].empty();
    if (on_request) check(zmq_bind(requests, given["requests"].c_str()), given["requests"].c_str());
    int rows = std::stoi(given["rows"]), cols = std::stoi(given["cols"]), level = std::stoi(given["level"]);
    auto pause = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1.0 / std::stod(given["rate"])));
    auto due = Clock::now();
    Request request{"", 0, given["part"], given["weld"], ""};
    for (;;) {
        camera.mind();
        if (!on_request) {
            if (Clock::now() < due) {
                std::this_thread::sleep_for(10ms);
                continue;
            }
            due = Clock::now() + pause;
            camera.frame(expose(rows, cols, level), request);
            continue;
        }
        zmq_pollitem_t item{requests, 0, ZMQ_POLLIN, 0};
        if (zmq_poll(&item, 1, 50) <= 0) continue;
        char text[1024];
        int size = zmq_recv(requests, text, sizeof text, 0);
        if (size < 0 || size > static_cast<int>(sizeof text) || !read_request(std::string(text, size), request)) {
            std::cerr << "not a request" << std::endl;
            continue;
        }
        camera.frame(expose(rows, cols, level), request);
        std::cout << "frame " << camera.counter() << ": part " << request.part << ", weld " << request.weld << std::endl;
    }
}

int main(int count, char** words) {
    try {
        serve(options(count, words));
    } catch (const std::exception& error) {
        std::cerr << "camera: " << error.what() << std::endl;
    }
    return 1;
}
