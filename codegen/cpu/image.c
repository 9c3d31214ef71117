/* From a relocatable ELF64 object to loadable bytes: text and read-only data are laid into one
 * image and PC-relative relocations resolved. Anything else (an undefined symbol, an absolute
 * relocation, writable data) is a mistake of ours: kernels call nothing and own no variables. */
#include "codegen/cpu/emit.h"
#include "ir/base/memory.h"
#include <elf.h>
#include <stdio.h>
#include <string.h>

typedef struct ElfObject {
    const uint8_t *bytes;
    size_t n_bytes;
    const Elf64_Ehdr *header;
    const Elf64_Shdr *sections;
    const char *names;
    const Elf64_Sym *symbols;
    size_t n_symbols;
    const char *symbol_names;
    int64_t *place; /* by section: offset in the image, -1: not in it */
} ElfObject;

void *cpu_alloc(const dlc_allocator *allocator, size_t bytes) {
    void *memory = raw_alloc(allocator, bytes);
    if (memory) {
        memset(memory, 0, bytes ? bytes : 1);
    }
    return memory;
}

static bool elf_open(ElfObject *elf, const void *object, size_t n_object) {
    elf->bytes = object;
    elf->n_bytes = n_object;
    elf->header = object;
    if (n_object < sizeof(Elf64_Ehdr) || memcmp(elf->header->e_ident, ELFMAG, SELFMAG) != 0 ||
        elf->header->e_type != ET_REL || elf->header->e_machine != EM_X86_64) {
        return false;
    }
    elf->sections = (const Elf64_Shdr *)(const void *)(elf->bytes + elf->header->e_shoff);
    elf->names = (const char *)elf->bytes + elf->sections[elf->header->e_shstrndx].sh_offset;
    for (int i = 0; i < elf->header->e_shnum; i++) {
        const Elf64_Shdr *section = &elf->sections[i];
        if (section->sh_type == SHT_SYMTAB) {
            elf->symbols = (const Elf64_Sym *)(const void *)(elf->bytes + section->sh_offset);
            elf->n_symbols = section->sh_size / sizeof(Elf64_Sym);
            elf->symbol_names =
                (const char *)elf->bytes + elf->sections[section->sh_link].sh_offset;
        }
    }
    return elf->symbols != NULL;
}

static bool section_kept(const ElfObject *elf, const Elf64_Shdr *section) {
    const char *name = elf->names + section->sh_name;
    return section->sh_type == SHT_PROGBITS && (section->sh_flags & SHF_ALLOC) &&
           (strncmp(name, ".text", 5) == 0 || strncmp(name, ".rodata", 7) == 0);
}

/* Places text first, then read-only data; 64-byte aligned so that slices can follow one another. */
static bool place_sections(ElfObject *elf, size_t *out_n, char *message) {
    size_t at = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < elf->header->e_shnum; i++) {
            const Elf64_Shdr *section = &elf->sections[i];
            bool is_text = (section->sh_flags & SHF_EXECINSTR) != 0;
            if (pass == 0) {
                elf->place[i] = -1;
            }
            if (!section_kept(elf, section)) {
                bool harmful = (section->sh_flags & SHF_ALLOC) && section->sh_size > 0 &&
                               strncmp(elf->names + section->sh_name, ".eh_frame", 9) != 0;
                if (harmful) {
                    TARGET_INTERNAL(message, "kernel code has a section %s",
                                    elf->names + section->sh_name);
                    return false;
                }
                continue;
            }
            if (is_text != (pass == 0)) {
                continue;
            }
            size_t align = section->sh_addralign ? section->sh_addralign : 1;
            if (pass == 1 && align < 64 && at % 64 != 0 && elf->place[i] < 0) {
                align = align < 16 ? 16 : align;
            }
            at = (at + align - 1) / align * align;
            elf->place[i] = (int64_t)at;
            at += section->sh_size;
        }
    }
    *out_n = (at + 63) / 64 * 64;
    return true;
}

static bool apply_relocations(const ElfObject *elf, const Elf64_Shdr *table, uint8_t *image,
                              char *message) {
    const Elf64_Rela *rela = (const Elf64_Rela *)(const void *)(elf->bytes + table->sh_offset);
    int64_t base = elf->place[table->sh_info];
    for (size_t i = 0; i < table->sh_size / sizeof(Elf64_Rela); i++) {
        uint64_t type = ELF64_R_TYPE(rela[i].r_info);
        const Elf64_Sym *symbol = &elf->symbols[ELF64_R_SYM(rela[i].r_info)];
        bool defined = symbol->st_shndx != SHN_UNDEF && symbol->st_shndx < SHN_LORESERVE &&
                       elf->place[symbol->st_shndx] >= 0;
        if (!defined || (type != R_X86_64_PC32 && type != R_X86_64_PLT32)) {
            TARGET_INTERNAL(message, "kernel code needs '%s' (relocation %llu)",
                            elf->symbol_names + symbol->st_name, (unsigned long long)type);
            return false;
        }
        int64_t at = base + (int64_t)rela[i].r_offset;
        int64_t target = elf->place[symbol->st_shndx] + (int64_t)symbol->st_value;
        int32_t value = (int32_t)(target + rela[i].r_addend - at);
        memcpy(image + at, &value, sizeof(value));
    }
    return true;
}

static int64_t find_entry(const ElfObject *elf) {
    for (size_t i = 0; i < elf->n_symbols; i++) {
        const Elf64_Sym *symbol = &elf->symbols[i];
        if (strcmp(elf->symbol_names + symbol->st_name, "k") == 0 &&
            symbol->st_shndx < SHN_LORESERVE && elf->place[symbol->st_shndx] >= 0) {
            return elf->place[symbol->st_shndx] + (int64_t)symbol->st_value;
        }
    }
    return -1;
}

dlc_status cpu_image(const void *object, size_t n_object, const dlc_allocator *allocator,
                     uint8_t **out_bytes, size_t *out_n, int64_t *out_entry, char *message) {
    ElfObject elf = {0};
    uint8_t *image = NULL;
    dlc_status status = DLC_ERROR_INTERNAL;
    if (!elf_open(&elf, object, n_object)) {
        return TARGET_INTERNAL(message, "LLVM gave no x86-64 object");
    }
    size_t n = 0;
    elf.place = cpu_alloc(allocator, sizeof(int64_t) * elf.header->e_shnum);
    if (!elf.place) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    if (!place_sections(&elf, &n, message)) {
        goto done;
    }
    image = cpu_alloc(allocator, n);
    if (!image) {
        status = DLC_ERROR_OUT_OF_MEMORY;
        goto done;
    }
    for (int i = 0; i < elf.header->e_shnum; i++) {
        if (elf.place[i] >= 0) {
            memcpy(image + elf.place[i], elf.bytes + elf.sections[i].sh_offset,
                   elf.sections[i].sh_size);
        }
    }
    for (int i = 0; i < elf.header->e_shnum; i++) {
        const Elf64_Shdr *section = &elf.sections[i];
        if (section->sh_type == SHT_RELA && elf.place[section->sh_info] >= 0 &&
            !apply_relocations(&elf, section, image, message)) {
            goto done;
        }
    }
    *out_entry = find_entry(&elf);
    if (*out_entry < 0) {
        TARGET_INTERNAL(message, "kernel code has no entry");
        goto done;
    }
    *out_bytes = image;
    *out_n = n;
    image = NULL;
    status = DLC_OK;
done:
    raw_free(allocator, elf.place);
    raw_free(allocator, image);
    return status;
}
