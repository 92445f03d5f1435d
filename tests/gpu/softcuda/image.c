/* Reads cubin files (ELF with NVIDIA's sections) and PTX text as far as a loader must: target, version, kernels and their arguments. */
#include "image.h"
#include <cuda.h>
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MACHINE_CUDA 190
#define ABI_12 7 /* e_flags hold the architecture in their low byte */
#define ABI_13 8 /* e_flags hold it in bits 8 to 15 */
#define ATTRIBUTE_BLOCK 4 /* .nv.info: a size and that many bytes follow */
#define ATTRIBUTE_HALF 3  /* .nv.info: the value stands in the header */
#define KPARAM_INFO 0x17
#define CBANK_PARAM_SIZE 0x19

static bool is_elf(const void *image) { return !memcmp(image, ELFMAG, SELFMAG); }

size_t image_bytes(const void *image) {
    if (!is_elf(image)) return strlen(image);
    const Elf64_Ehdr *header = image;
    size_t sections = header->e_shoff + (size_t)header->e_shnum * header->e_shentsize;
    size_t segments = header->e_phoff + (size_t)header->e_phnum * header->e_phentsize;
    return sections > segments ? sections : segments;
}

static int check_elf(const Elf64_Ehdr *header, int version, int arch) {
    if (header->e_machine != MACHINE_CUDA) return CUDA_ERROR_INVALID_IMAGE;
    unsigned abi = header->e_ident[EI_ABIVERSION];
    if (abi != ABI_12 && abi != ABI_13) return CUDA_ERROR_INVALID_IMAGE;
    if (abi == ABI_13 && version < 13000) return CUDA_ERROR_NO_BINARY_FOR_GPU;
    unsigned sm = abi == ABI_13 ? header->e_flags >> 8 & 0xff : header->e_flags & 0xff;
    return sm == (unsigned)arch ? 0 : CUDA_ERROR_NO_BINARY_FOR_GPU;
}

static int newest_ptx(int version) { /* the PTX ISA, times ten, that the driver of this CUDA version reads */
    int major = version / 1000, minor = version % 1000 / 10;
    if (major >= 13) return 90 + minor;
    return 80 + (minor <= 5 ? minor : minor - 1);
}

static int check_ptx(const char *text, int version, int arch) {
    const char *isa = strstr(text, ".version"), *target = strstr(text, ".target");
    int major, minor, sm;
    if (!isa || !target || sscanf(isa, ".version %d.%d", &major, &minor) != 2) return CUDA_ERROR_INVALID_PTX;
    if (sscanf(target, ".target sm_%d", &sm) != 1) return CUDA_ERROR_INVALID_PTX;
    if (major * 10 + minor > newest_ptx(version)) return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
    return sm <= arch ? 0 : CUDA_ERROR_NO_BINARY_FOR_GPU;
}

int image_check(const void *image, size_t limit, int version, int major, int minor) {
    if (!image || limit < 4) return CUDA_ERROR_INVALID_VALUE;
    int arch = major * 10 + minor;
    if (is_elf(image)) return check_elf(image, version, arch);
    for (const unsigned char *c = image; *c; c++)
        if (*c > 126 || (*c < 32 && *c != '\n' && *c != '\r' && *c != '\t')) return CUDA_ERROR_INVALID_IMAGE;
    return check_ptx(image, version, arch);
}

static void read_info(const unsigned char *info, size_t bytes, Layout *layout) {
    for (size_t at = 0; at + 4 <= bytes;) {
        unsigned form = info[at], attribute = info[at + 1], value = info[at + 2] | (unsigned)info[at + 3] << 8;
        const unsigned char *body = info + at + 4;
        if (form == ATTRIBUTE_HALF && attribute == CBANK_PARAM_SIZE) layout->total = value;
        if (form == ATTRIBUTE_BLOCK && attribute == KPARAM_INFO) {
            unsigned ordinal = body[4] | (unsigned)body[5] << 8;
            uint32_t flags;
            memcpy(&flags, body + 8, sizeof flags);
            if (ordinal < MAX_PARAMS) {
                layout->offset[ordinal] = body[6] | (unsigned)body[7] << 8;
                layout->bytes[ordinal] = flags >> 18;
                if ((int)ordinal >= layout->count) layout->count = (int)ordinal + 1;
            }
        }
        at += 4 + (form == ATTRIBUTE_BLOCK ? value : 0);
    }
}

static bool kernel_elf(const unsigned char *image, const char *name, Layout *layout) {
    const Elf64_Ehdr *header = (const void *)image;
    const Elf64_Shdr *sections = (const void *)(image + header->e_shoff);
    const char *names = (const char *)image + sections[header->e_shstrndx].sh_offset;
    bool found = false;
    for (int i = 0; i < header->e_shnum; i++) {
        const char *section = names + sections[i].sh_name;
        if (!strncmp(section, ".text.", 6) && !strcmp(section + 6, name)) found = true;
        if (!strncmp(section, ".nv.info.", 9) && !strcmp(section + 9, name)) read_info(image + sections[i].sh_offset, sections[i].sh_size, layout);
    }
    return found;
}

static size_t scalar_bytes(const char *type) { /* ".u64", ".f32", ".b8" */
    int bits = atoi(type + 2);
    return bits >= 8 ? (size_t)bits / 8 : 0;
}

static void read_param(const char *text, const char *end, Layout *layout) { /* ".param [.align N] .TYPE NAME[[COUNT]]" */
    size_t align = 0, bytes = 0, count = 1;
    for (const char *word = memchr(text + 1, '.', (size_t)(end - text - 1)); word && word < end; word = memchr(word + 1, '.', (size_t)(end - word - 1))) {
        if (!strncmp(word, ".align", 6)) align = (size_t)atoi(word + 6);
        else if (!strncmp(word, ".ptr", 4)) break;
        else if (strchr("usbf", word[1])) bytes = scalar_bytes(word);
    }
    const char *bracket = memchr(text, '[', (size_t)(end - text));
    if (bracket) count = (size_t)atol(bracket + 1);
    if (!align) align = bytes;
    if (!bytes || !align || layout->count == MAX_PARAMS) return;
    size_t offset = (layout->total + align - 1) / align * align;
    layout->offset[layout->count] = offset;
    layout->bytes[layout->count++] = bytes * count;
    layout->total = offset + bytes * count;
}

static bool kernel_ptx(const char *text, const char *name, Layout *layout) {
    size_t length = strlen(name);
    for (const char *entry = strstr(text, ".entry"); entry; entry = strstr(entry + 6, ".entry")) {
        const char *word = entry + 6 + strspn(entry + 6, " \t");
        if (strncmp(word, name, length) || !strchr("( \t\r\n", word[length])) continue;
        const char *close = strchr(word, ')');
        for (const char *param = strstr(word, ".param"); close && param && param < close; param = strstr(param + 6, ".param")) {
            const char *next = strchr(param, ',');
            read_param(param, next && next < close ? next : close, layout);
        }
        return true;
    }
    return false;
}

bool image_kernel(const void *image, size_t bytes, const char *name, Layout *layout) {
    (void)bytes;
    *layout = (Layout){0};
    return is_elf(image) ? kernel_elf(image, name, layout) : kernel_ptx(image, name, layout);
}
